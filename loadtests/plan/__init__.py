"""What a run is to do: its options, its plan, and what files say of it."""
