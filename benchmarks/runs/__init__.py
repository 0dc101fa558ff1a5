"""Runs that are judged: which load, on which server, made afresh."""
