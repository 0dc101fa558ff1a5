"""Connections: opened, made ready, kept, and brought back."""
