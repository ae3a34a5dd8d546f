"""Scores from label maps."""
