"""Learning rate schedules: one file for each, found by core.registry."""
