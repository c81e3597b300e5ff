"""Measurements of what Allod promises: `make bench`."""
