"""Samplers: one file for each, found by core.registry. Names are those of A1111."""
