"""Discriminators and generators."""
