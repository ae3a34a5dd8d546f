"""MATLAB's files: level 5, read by hand, and 7.3, which is HDF5."""
