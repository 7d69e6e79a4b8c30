"""Loss weightings over the timestep: one file for each, found by core.registry."""
