"""A matrix: the same experiments on several servers, side by side."""
