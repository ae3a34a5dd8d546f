"""Weak labels: made from masks by seed, or read as people have drawn them."""
