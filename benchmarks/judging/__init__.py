"""The arithmetic of verdicts: numbers of runs go in, decisions come out, and no I/O between."""
