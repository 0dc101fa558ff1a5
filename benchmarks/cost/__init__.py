"""What this project itself costs, compared with references that run in the same rounds."""
