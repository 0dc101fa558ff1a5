"""One run from its plan to its record: the target, the swarm processes, the phases."""
