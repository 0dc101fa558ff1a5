"""The server's lifecycle: heartbeat and pings, upstream servers, its workers, and the drain."""
