"""What of a recipe does not change what is trained; read without torch."""

from __future__ import annotations

PLACES = ("data.root", "data.workers", "data.cache", "train.seed", "baseline.recipe")
"""Keys that do not change what is trained, or are told apart otherwise (the seed)."""
