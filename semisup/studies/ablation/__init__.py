"""Studies: a grid of recipes and seeds that one command plans and runs."""
