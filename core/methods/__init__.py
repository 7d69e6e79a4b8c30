"""What is trained and how it is saved: one file for each method, found by core.registry."""
