"""Show it honestly: records in, figures out."""
