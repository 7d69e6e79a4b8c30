"""Model families: one file for each, found by core.registry."""
