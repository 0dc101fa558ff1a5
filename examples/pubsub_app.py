"""The application from the README of fastapi-websocket-pubsub: topics over JSON-RPC.

Run it with ``uvicorn pubsub_app:app``; claims_pubsub.toml lists what is asked of it.
"""

from fastapi import FastAPI
from fastapi_websocket_pubsub import PubSubEndpoint

app = FastAPI()
endpoint = PubSubEndpoint()
endpoint.register_route(app, path="/pubsub")
