"""The training loop and what surrounds it: updates, evaluation, checkpoints, tracking."""
