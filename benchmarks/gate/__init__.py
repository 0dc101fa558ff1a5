"""The performance gate: is head worse than base? Runs in drawn order, until that is decided."""
