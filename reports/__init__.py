"""What was measured and how it is told: the run record, its figures, and their renderers."""
