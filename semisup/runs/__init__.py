"""A recipe becomes a run on disk."""
