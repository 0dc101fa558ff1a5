"""Connections: opening them, making them ready, keeping them, and reconnecting."""
