"""What a worker counts, how all workers' counts are added up, and how they are shown."""
