"""What a run does: its options, its plan, and the files that describe it."""
