"""A real Redis on a port of its own, that can be stopped, killed and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time

REDIS = shutil.which("redis-server") or shutil.which("valkey-server")
DEADLINE_SECONDS = 60.0
TRIES = 10


class RedisServer:
    """One Redis process at a time, always on the same port, keeping nothing on disk."""

    def __init__(self, directory):
        self.directory = directory
        self.port = 0
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        if self.port:
            assert self._try(), f"redis-server ended at once on port {self.port}"
            return self
        for _ in range(TRIES):
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            # Somebody else may have been quicker to take it.
            if self._try():
                return self
        raise AssertionError(f"redis-server ended at once on {TRIES} ports")

    def _try(self):
        """Start Redis, and wait until it answers; return whether it has not ended instead."""
        self.process = subprocess.Popen(
            [
                *(REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
                *("--appendonly", "no", "--dir", str(self.directory)),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._answers():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)
        return True

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self):
        """Let it answer nobody, with every connection open."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def command(self, *words):
        """Return what it answers, line by line."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    def subscribers(self, channel):
        return int(self.command("pubsub", "numsub", channel)[1])

    def close_connections(self, kind="normal"):
        """Close those of all clients of a kind, as its ``timeout`` does with idle ones."""
        self.command("client", "kill", "type", kind)

    def _answers(self):
        """Return whether this very process answers, and not somebody else's on its port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                client.sendall(b"INFO server\r\n")
                answer = b""
                while b"process_id" not in answer or not answer.endswith(b"\r\n"):
                    if not (data := client.recv(65536)):
                        return False
                    answer += data
        except OSError:
            return False
        return b"\r\nprocess_id:%d\r\n" % self.process.pid in answer
