"""`semisup data`: fetch, verify, make, split, tag and show data sets."""
