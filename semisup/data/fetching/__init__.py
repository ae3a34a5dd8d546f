"""Fetching public data sets: where they are, their checksums, safe unpacking."""
