"""Folders of images that are labelled, and of the labels that were written."""
