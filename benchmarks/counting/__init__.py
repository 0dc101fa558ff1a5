"""Exact counts of what a server's own code costs, in a process without a network."""
