"""Densities, how often each timestep is drawn: one file for each, found by core.registry."""
