"""The training engine: the only package, besides core.tools, that imports torch at module level."""
