"""A worker's side: the swarm process of one user class, and the slots that Locust counts for it.

Locust starts and stops users; each is a :class:`UserSlot` for one connection in the swarm process,
which runs alongside the worker, outside gevent. The master's commands go to the swarm unchanged,
the swarm's lines to the master.
"""

import json
import logging
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol

import gevent
from gevent.pool import Group

from loadtests.plan.plan import Endpoint, ProcessPlan, port_of, split_url
from loadtests.run import probe
from loadtests.run.child_process import MOST_SILENT_SECONDS, own_environment, own_module, sheltered
from loadtests.run.commands import (
    Add,
    Close,
    Command,
    Prepare,
    Remove,
    Serve,
    encode_command,
)
from reports.printable import printable

# Locust orders its users once a second; they arrive evenly over nearly all of it.
_SPREAD_SECONDS: Final = 0.9
_READ_SECONDS: Final = 1.0

logger = logging.getLogger("swarmgate")

Report = Callable[[str, Mapping[str, Any]], None]


class UserSlot(Protocol):
    """A Locust user that stands for one connection."""

    def leave(self) -> None:
        """Leave the users that Locust counts."""


class WorkerAgent:
    """One user class on one worker.

    Changes in the number of users are held back while a round lasts; the master ends it for them.
    """

    def __init__(self, name: str, new_slot: Callable[[], UserSlot], report: Report) -> None:
        """Create the agent; the swarm process starts with its first command.

        Args:
            name: the name of the user class.
            new_slot: creates a slot that Locust counts, for a connection that has come back.
            report: reports something about this class to the master: what, and its details.
        """
        self._name = name
        self._new_slot = new_slot
        self._report = report
        self._slots: dict[UserSlot, None] = {}
        self._to_add = 0
        self._to_remove = 0
        self._order = 0
        self._is_held = False
        self._flushing = False
        self._swarm: subprocess.Popen[bytes] | None = None
        self._endpoint: Endpoint | None = None
        self._is_closing = False
        self._open = 0
        self._last_words = ""
        self._silent = 0
        self._readers = Group()

    @property
    def is_running(self) -> bool:
        """Whether there is a swarm process."""
        return self._swarm is not None

    def add(self, slot: UserSlot) -> None:
        """Add a connection."""
        self._slots[slot] = None
        self._to_add += 1
        self._flush_soon()

    def remove(self, slot: UserSlot) -> None:
        """Remove a connection."""
        if self._discard(slot):
            self._to_remove += 1
            self._flush_soon()

    def _prepare(self, share: ProcessPlan) -> None:
        """Start the swarm process with its share of the plan, ending an earlier one."""
        self.end()
        try:
            self._endpoint = _resolve(share.plan.url)
        except OSError as error:
            self._report("lost", {"status": -1, "last_words": str(error), "connections": 0})
            return
        self._is_closing, self._is_held, self._order, self._open = False, False, 0, 0
        self._silent = 0
        with sheltered():
            self._swarm = subprocess.Popen(
                own_module("loadtests.run.swarm"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**own_environment(), "PYTHONUNBUFFERED": "1"},
            )
        self._readers = Group()
        self._readers.spawn(self._read, self._swarm)
        self._readers.spawn(self._read_printed, self._swarm)
        self._readers.spawn(self._watch, self._swarm)
        self._write(encode_command(Prepare(self._complete(share))))
        self._flush_soon()

    def hold(self) -> None:
        """Hold back changes in the number of users from now on, and report that."""
        self._is_held = True
        self._report("held", {"ordered": self._order})

    def release(self) -> None:
        """Stop holding changes back."""
        self._is_held = False
        # Flush now: a hold may be next, and what was held back would stay so forever.
        self._flush()

    def command(self, command: Command) -> None:
        """Do what the master wants: start the swarm process, or pass the command on to it."""
        match command:
            case Prepare(share):
                self._prepare(share)
                return
            case Serve(share, number):
                command = Serve(self._complete(share), number)
            case Close():
                self._is_closing = True
        self._write(encode_command(command))

    def abandon(self, why: str) -> None:
        """End the swarm process and report that this was not caused by the server."""
        if self._swarm is not None:
            self._report("lost", {"status": None, "last_words": why, "connections": self._open})
        self.end()

    def end(self) -> None:
        """End the swarm process at once."""
        swarm, self._swarm = self._swarm, None
        if swarm is None:
            return
        self._is_closing = True
        self._readers.kill(block=False)
        swarm.kill()
        swarm.wait()
        self._drop_all()

    def _complete(self, share: ProcessPlan) -> ProcessPlan:
        """Fill in what only this host can know."""
        assert self._endpoint is not None
        host = self._endpoint.host
        # One source address has 28,000 ports to one server; workers of one host share them.
        is_loopback = host.startswith("127.") and share.process
        sources = (f"127.0.0.{1 + share.process % 254}",) if is_loopback else ()
        return replace(share, endpoint=self._endpoint, sources=sources)

    def _flush_soon(self) -> None:
        """Combine the users that Locust starts and stops one by one into one order."""
        if not self._flushing:
            self._flushing = True
            gevent.spawn(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if not (self._to_add or self._to_remove) or self._swarm is None:
            return
        if self._is_held:
            self._report("change wanted", {})
            return
        both = min(self._to_add, self._to_remove)
        added, removed = self._to_add - both, self._to_remove - both
        self._to_add = self._to_remove = 0
        if added:
            self._order += 1
            self._write(encode_command(Add(added, _SPREAD_SECONDS, self._order)))
        if removed:
            self._order += 1
            self._write(encode_command(Remove(removed, self._order)))

    def _write(self, line: bytes) -> None:
        if self._swarm is None:
            return
        assert self._swarm.stdin is not None
        try:
            self._swarm.stdin.write(line)
            self._swarm.stdin.flush()
        except OSError:
            # It has ended; the greenlet that reads from it reports that.
            return

    def _read(self, swarm: "subprocess.Popen[bytes]") -> None:
        """Pass on the swarm's lines until there are no more."""
        assert swarm.stdout is not None
        for text in swarm.stdout:
            if not text.endswith(b"\n"):
                # It was killed in the middle of a line.
                break
            self._take(text)
        status = swarm.wait()
        if self._is_closing:
            self._drop_all()
            self._report("ended", {})
            return
        gevent.sleep(0)
        detail = {"status": status, "last_words": self._last_words, "connections": self._open}
        logger.error(
            "%s: the swarm process ended with status %s (%s); its users are gone",
            self._name,
            status,
            self._last_words or "it printed nothing",
        )
        self._swarm = None
        self._drop_all()
        self._report("lost", detail)

    def _take(self, text: bytes) -> None:
        self._silent = 0
        detail = None
        if b'"name":"population"' in text:
            detail = json.loads(text)["detail"]
            self._open = detail["open"]
            self._follow(detail)
        self._report("line", {"text": text, "ordered": self._order})

    def _follow(self, population: Mapping[str, int]) -> None:
        """Match the number of slots to the connections once every order has been taken."""
        if population["order"] != self._order or self._to_add or self._to_remove:
            return
        wanted = population["open"] + population["pending"]
        while len(self._slots) > wanted:
            self._discard(next(reversed(self._slots)))
        while len(self._slots) < wanted:
            self._slots[self._new_slot()] = None

    def _discard(self, slot: UserSlot) -> bool:
        if slot not in self._slots:
            return False
        del self._slots[slot]
        slot.leave()
        return True

    def _drop_all(self) -> None:
        while self._slots:
            self._discard(next(iter(self._slots)))
        self._to_add = self._to_remove = 0

    def _watch(self, swarm: "subprocess.Popen[bytes]") -> None:
        """Read the swarm's memory and CPU time once a second; end it when it hangs."""
        while swarm.poll() is None:
            if reading := probe.sample_processes([swarm.pid], thorough=False):
                self._report("reading", {"values": reading, "pid": swarm.pid})
            gevent.sleep(_READ_SECONDS)
            self._silent += 1
            if self._silent > MOST_SILENT_SECONDS:
                self._last_words = f"it reported nothing for {MOST_SILENT_SECONDS} s and was ended"
                swarm.kill()

    def _read_printed(self, swarm: "subprocess.Popen[bytes]") -> None:
        """Log what it and its script print; the last line shows why it died."""
        assert swarm.stderr is not None
        for text in swarm.stderr:
            given = printable(text.decode(errors="replace").rstrip())
            logger.info("%s: %s", self._name, given)
            self._last_words = given or self._last_words


def _resolve(url: str) -> Endpoint:
    """Resolve the host here, once, and take the first address that answers, if it has several.

    Raises:
        OSError: it has none.
    """
    host, port = split_url(url).hostname or "", port_of(url)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    candidates = list(dict.fromkeys(Endpoint(str(item[4][0]), port) for item in found))
    if len(candidates) > 1:
        for candidate in candidates:
            with suppress(OSError), socket.create_connection((candidate.host, port), timeout=1.0):
                return candidate
    return candidates[0]
