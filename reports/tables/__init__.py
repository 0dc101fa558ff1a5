"""Verdicts and comparisons as tables, for a terminal and in Markdown."""
