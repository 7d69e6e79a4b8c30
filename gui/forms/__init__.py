"""Forms built from the schema by type of field, never by name."""
