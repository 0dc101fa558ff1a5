"""A matrix: the same experiments on several servers, beside each other."""
