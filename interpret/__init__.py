"""What did the model use: its attention, its gradients, its attributions (torch lives here)."""
