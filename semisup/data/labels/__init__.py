"""Which labels an image has: splits, tags."""
