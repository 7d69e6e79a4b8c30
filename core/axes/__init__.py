"""Axes of a grid: one file for each, found by core.registry."""
