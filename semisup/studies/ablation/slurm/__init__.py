"""Cells of a study as jobs of Slurm."""
