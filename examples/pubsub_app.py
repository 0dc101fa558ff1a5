"""The application of fastapi-websocket-pubsub's own README: topics, over JSON-RPC.

``uvicorn pubsub_app:app``; claims_pubsub.toml says what it is asked for.
"""

from fastapi import FastAPI
from fastapi_websocket_pubsub import PubSubEndpoint

app = FastAPI()
endpoint = PubSubEndpoint()
endpoint.register_route(app, path="/pubsub")
