"""Scaling laws: how memory, CPU, broadcast time and throughput grow, and how far that holds."""
