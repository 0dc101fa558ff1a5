"""What runs in the counted process: an application, uvicorn's protocols, and no network.

It needs only uvicorn, the standard library and Python 3.10, because it runs in the environment of
the application; it imports nothing of ours from outside this folder.
"""
