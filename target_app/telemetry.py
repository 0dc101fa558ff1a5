"""Whether anybody set OpenTelemetry up in the process of the server.

FastAPI looks for that again at each request and handshake, which costs time where nobody did. An
application that others make decides as FastAPI does: it may be set up later.
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
"""In the name of every environment variable that sets it up, or has FastAPI do so."""


def as_set_up(environment: Mapping[str, str] = os.environ) -> TelemetryConfig | None:
    """Return what ``FastAPI(telemetry=…)`` takes: nothing special, or off if nobody set it up.

    Set up is by ``environment``, or by what runs the server, as ``opentelemetry-instrument`` does.
    """
    is_provided = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    return None if is_provided or any(MENTIONED in name for name in environment) else OFF
