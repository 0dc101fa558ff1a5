"""What a swarm process counts and times, and the clocks and timers that it uses."""
