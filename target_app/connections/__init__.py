"""Connections: the object of each, the registry and rooms that hold them, and delivery."""
