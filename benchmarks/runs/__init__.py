"""Runs to be judged: which load, on which server, each from a fresh start."""
