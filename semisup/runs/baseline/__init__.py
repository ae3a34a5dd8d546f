"""A run beside the one that it is compared with."""
