"""Kinds of loss, how an error counts: one file for each, found by core.registry."""
