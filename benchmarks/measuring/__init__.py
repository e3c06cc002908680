"""What the benchmarks share: the ways that are compared, rounds of time, memory of a fresh process, tables."""
