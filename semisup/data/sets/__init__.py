"""The data sets, each in its own layout on disk."""
