"""Request events for listeners to Locust's: what swarm users did, one event per row and second.

Exporters listen to that event. So does Locust itself: it would count the event as one request,
although :mod:`loadtests.locust.stats` has entered all that it stands for, so it is left out.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import gevent
from gevent.queue import JoinableQueue
from locust import runners
from locust.event import EventHook
from locust.exception import StopTest

from loadtests.locust.stats import METHOD, Row
from loadtests.locust.websocket_user import WebSocketUserError
from reports.record import Interval

_PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
# A listener that hangs must not fill the memory or keep the test from ending.
_MOST_WAITING: Final = 10_000
_LAST_SECONDS: Final = 10.0

logger = logging.getLogger("swarmgate")

Event = Mapping[str, Any]


class Listeners:
    """All listeners to requests except Locust itself.

    They are called in a separate greenlet, one event after the other: one that blocks delays only
    the next.
    """

    def __init__(self, hook: EventHook, give_up: Callable[[], None]) -> None:
        """Start the greenlet that calls them.

        Args:
            hook: Locust's request event.
            give_up: ends the test, as a listener may request (``locust.exception.StopTest``).
        """
        self._hook = hook
        self._give_up = give_up
        self._waiting: JoinableQueue[Event] = JoinableQueue(_MOST_WAITING)
        gevent.spawn(self._serve)

    def notify(self, user: str, url: str, interval: Interval, row: Row) -> None:
        """Queue an event for them, if there are any, without waiting for the calls."""
        if not self._others():
            return
        if self._waiting.full():
            logger.warning(
                "a request listener does not keep up: it is not notified of %s", row.name
            )
            return
        self._waiting.put(event_of(user, url, interval, row, time.time()))

    def flush(self) -> None:
        """Wait until they have received all events, but not forever."""
        if not self._waiting.join(_LAST_SECONDS):
            logger.warning(
                "a request listener did not receive all events within %.0f s", _LAST_SECONDS
            )

    def _others(self) -> list[Callable[..., object]]:
        # Locust's own is a nested function: only its module identifies it.
        return [it for it in self._hook._handlers if not _is_of_locust(it)]  # noqa: SLF001

    def _serve(self) -> None:
        for event in self._waiting:
            hook = EventHook()
            for listener in self._others():
                hook.add_listener(listener)
            try:
                hook.fire(**event)
            except StopTest as error:
                logger.error(error)
                self._give_up()
            except Exception:
                # Locust lets through what ends a task or a user, and there is neither here.
                logger.debug("a request listener tried to end a user", exc_info=True)
            finally:
                self._waiting.task_done()


def _is_of_locust(listener: object) -> bool:
    return getattr(listener, "__module__", None) == runners.__name__


def event_of(user: str, url: str, interval: Interval, row: Row, now: float) -> Event:
    """Return a listener's arguments: a request that stands for all of a row in an interval.

    Args:
        user: the user class.
        url: what it connects to.
        interval: one second of one swarm process.
        row: one row of Locust's table in it.
        now: the time, in seconds since 1970.
    """
    failed = sum(row.failures.values())
    seconds = interval.duration_ns / 1e9
    details: dict[str, Any] = {
        "user": user,
        "process": interval.process,
        "phase": interval.phase,
        "seconds": seconds,
        "count": row.count + failed,
        "failures": dict(row.failures),
        "received_bytes": row.received_bytes,
    }
    if row.histogram is not None:
        details["histogram"] = row.histogram.encode()
        details["times_ms"] = {
            "min": row.low_ms,
            "mean": row.total_ms / row.count,
            "max": row.high_ms,
            **{
                name: row.histogram.percentile_ns(percent) / 1e6
                for name, percent in _PERCENTILES.items()
            },
        }
    return {
        "request_type": METHOD,
        "name": row.name,
        "response_time": row.total_ms / row.count if row.count else None,
        "response_length": round(row.received_bytes / row.count) if row.count else 0,
        "response": None,
        "context": {"swarmgate": details},
        "exception": WebSocketUserError(", ".join(sorted(row.failures))) if failed else None,
        "start_time": now - seconds,
        "url": url,
    }
