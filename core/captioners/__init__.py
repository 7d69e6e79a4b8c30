"""Captioners: one file per kind of model that finds words for pictures."""
