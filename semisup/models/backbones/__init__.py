"""Backbones of the segmentation networks."""
