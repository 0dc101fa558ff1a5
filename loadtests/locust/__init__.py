"""Locust as the engine of the swarm: its users are connections, and each worker has a swarm.

``wiring`` listens to Locust's events. On a worker, a ``worker_agent`` runs a swarm process for each
user class; on the master, a ``conductor`` leads all swarms of a class and writes the record. A
local run has both in one process. Nothing here is imported by a swarm process.
"""
