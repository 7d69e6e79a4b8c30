"""Optimizers: one file for each, found by core.registry."""
