"""`semisup data`: verify, make, split, tag and show data sets."""
