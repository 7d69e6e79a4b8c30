"""Tools beside the training: other programs' files in and out."""
