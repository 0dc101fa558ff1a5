"""What puts load on a server and writes run records: swarm, fleet, scenarios, probes."""
