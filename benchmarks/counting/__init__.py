"""Counts what a server's own code costs, exactly, in a process without a network."""
