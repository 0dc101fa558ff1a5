"""Claims: sentences about a server as data, the runs that test them, and their verdicts."""
