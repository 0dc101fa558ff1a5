"""The server with so much patience for Redis that whoever waited for it would be seen to."""

import target_app.redis_client

target_app.redis_client.TIMEOUT_SECONDS = 600.0

from target_app.app import create_app  # noqa: E402 - it takes the time above

app = create_app()
