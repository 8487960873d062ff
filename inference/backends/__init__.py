"""Backends: a file each."""
