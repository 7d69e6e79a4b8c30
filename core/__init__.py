"""Everything of Burnish that is not a window: settings, data, the training engine, runs. Never imports Qt or gui."""

__version__ = "0.1.0"
