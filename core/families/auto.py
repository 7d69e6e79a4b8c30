"""Family choice "auto": look into the file and pick the family whose tensors are there."""

LABEL = "Recognise it from the file"
HELP = "Reads the names of the tensors (not the weights) and picks the family that owns them."
ORDER = 0
