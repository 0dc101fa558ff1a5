"""Whether OpenTelemetry has been set up in the process of the server.

FastAPI checks that again at each request and handshake, which costs time if it has not. An
application made by other code decides as FastAPI does: OpenTelemetry may be set up later.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi.telemetry import TelemetryConfig

OFF: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
MENTIONED: Final = "OTEL_"
"""In the name of every environment variable that sets it up, or makes FastAPI do so."""


def as_set_up(environment: Mapping[str, str] = os.environ) -> TelemetryConfig | None:
    """Return the value for ``FastAPI(telemetry=…)``: None, or off if it has not been set up.

    It is set up by ``environment``, or by what runs the server, such as
    ``opentelemetry-instrument``.
    """
    is_provided = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    return None if is_provided or any(MENTIONED in name for name in environment) else OFF
