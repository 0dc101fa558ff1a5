"""Connections: the object for each, the registry and rooms that hold them, and delivery."""
