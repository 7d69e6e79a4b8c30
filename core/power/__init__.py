"""The GPUs' power limits: read, set, and the limit found that makes most images of a kilowatt-hour."""
