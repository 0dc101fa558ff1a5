"""What was measured and how it is reported: the run record, its figures, and their renderers."""
