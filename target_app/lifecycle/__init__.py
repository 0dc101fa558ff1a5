"""The life of the server: heartbeat and pings, upstream servers, its workers, and the drain."""
