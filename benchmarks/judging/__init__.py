"""The arithmetic of verdicts: figures of runs go in, decisions come out, with no I/O in between."""
