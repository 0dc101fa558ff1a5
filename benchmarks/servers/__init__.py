"""Servers that others are compared with in the matrix: echo, and broadcast on ``/ws``."""
