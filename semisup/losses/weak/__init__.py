"""Losses that learn from weak labels, or from the images themselves."""
