"""The performance gate: is head worse than base? Runs in random order until that is decided."""
