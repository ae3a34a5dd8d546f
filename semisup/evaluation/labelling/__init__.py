"""Pseudo-masks: what a trained network is sure of, as masks that others are trained on."""
