"""OpenTelemetry: FastAPI's own, and off where nobody set it up."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest
from opentelemetry import trace
from starlette.testclient import TestClient

from target_app.app import create_app
from target_app.settings import Settings
from target_app.telemetry import OFF, as_set_up


class Spans(trace.TracerProvider, trace.Tracer):
    """Notes the names of spans as they begin, and how many are over."""

    def __init__(self):
        self.begun = []
        self.ended = 0

    def get_tracer(self, *args, **kwargs):
        return self

    def start_span(self, name, *args, **kwargs):
        self.begun.append(name)
        return Span(self)

    @contextlib.contextmanager
    def start_as_current_span(self, name, *args, **kwargs):
        span = self.start_span(name)
        yield span
        span.end()


class Span(trace.NonRecordingSpan):
    def __init__(self, spans):
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self._spans = spans

    def end(self, *args, **kwargs):
        self._spans.ended += 1


def test_a_handshake_is_traced_and_the_trace_ends_with_it():
    spans = Spans()
    app = create_app(
        Settings(heartbeat_seconds=0, announce_limit=0), telemetry={"tracer_provider": spans}
    )
    with TestClient(app) as client, client.websocket_connect("/echo") as websocket:
        assert "WS" in spans.begun
        websocket.send_text("hello")
        assert websocket.receive_text() == "hello"
        assert spans.ended == len(spans.begun)


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "FASTAPI_OTEL_AUTO_CONFIGURE"])
def test_what_the_environment_sets_up_is_left_to_fastapi(name):
    assert as_set_up({name: "x"}) is None


def test_it_is_off_where_nobody_set_it_up():
    assert as_set_up({"PATH": "/bin"}) == OFF


@pytest.mark.parametrize("provider", ["", "trace.set_tracer_provider(trace.NoOpTracerProvider())"])
def test_what_runs_the_server_may_set_it_up(provider):
    # In a process of its own: it can be set once only.
    program = f"""
import json
from opentelemetry import trace
from target_app.telemetry import as_set_up
{provider}
print(json.dumps(as_set_up({{}})))
"""
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(told) == (None if provider else OFF)
