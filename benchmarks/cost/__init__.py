"""What this project itself costs, beside references that run in the same rounds."""
