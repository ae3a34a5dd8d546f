"""Data sets in their own layout, splits, transforms and endless streams."""
