"""Rooms: NYU Depth v2 and SUN RGB-D, which share their classes."""
