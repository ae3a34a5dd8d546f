"""Recipes: what to run, as data."""
