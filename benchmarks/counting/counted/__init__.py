"""What runs in the counted process: an application, uvicorn's protocols, and no network.

Needs uvicorn and Python's own library alone, and Python 3.10, because it runs in the environment
of the application; imports nothing of ours from outside this folder.
"""
