"""The anatomy of the models without torch: every tensor by name, shape, block and kind, from the JSON configs alone."""
