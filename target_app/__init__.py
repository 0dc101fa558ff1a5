"""The reference WebSocket server: a FastAPI application that load tests are proved on."""
