"""Losses that more than one method may use."""
