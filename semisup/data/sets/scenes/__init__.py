"""Made scenes that need no download."""
