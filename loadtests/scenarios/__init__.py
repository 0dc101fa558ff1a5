"""The scenarios: what a swarm process does with its connections, and how messages travel."""
