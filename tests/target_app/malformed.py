"""Seeded random frames and handshakes that a hostile client might send, most of them wrong."""

from __future__ import annotations

import json
import os
import struct
from base64 import b64encode

EVENTS = [
    json.dumps({"event": "join", "client_id": "", "data": {"data": {"room": "a"}}}).encode(),
    json.dumps({"event": "room", "client_id": "", "data": {"data": {"room": "a"}}}).encode(),
    json.dumps({"event": "send_to_client", "client_id": "x", "data": {"data": {}}}).encode(),
    json.dumps({"type": "READING_PROGRESS", "payload": {"page": 1}}).encode(),
    json.dumps({"type": "STUDENT_INTERRUPTION", "payload": {"questionText": "?"}}).encode(),
    json.dumps({"type": "JOIN_CLASS", "payload": {"classId": "c"}}).encode(),
    b'{"type": "x", "payload": {"a": "\\ud800"}}',
    b'{"event": "broadcast", "client_id": "", "data": {"data": {"a": NaN}}}',
    b'{"type": "x", "payload": ' + b"[" * 300,
    b"",
    b"\xff\xfe",
    "\u00e9\u20ac\U0001f600".encode(),
    b"\xed\xa0\x80",  # a surrogate, which UTF-8 has not
]


def request(path, *headers):
    """Return a handshake that is right, but for ``headers``."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def frame(opcode, payload=b"", *, fin=True, rsv=0, masked=True, announced=None):
    """Return one frame as a client sends it (RFC 6455 §5.2), or wrong in the ways asked for."""
    length = len(payload) if announced is None else announced
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if length < 126:
        head = struct.pack("!BB", first, masked << 7 | length)
    elif length < 2**16:
        head = struct.pack("!BBH", first, masked << 7 | 126, length)
    else:
        head = struct.pack("!BBQ", first, masked << 7 | 127, length)
    # A mask of zeros leaves the payload as it is.
    return head + (bytes(4) if masked else b"") + payload


def any_payload(random):
    payload = random.choice([*EVENTS, random.randbytes(random.choice([1, 60, 125, 126, 1_000]))])
    if payload and random.random() < 0.2:
        at = random.randrange(len(payload))
        payload = payload[:at] + random.randbytes(1) + payload[at + 1 :]
    return payload


def any_frame(random):
    """Return a frame: right ones more often than not, so that a connection lives for some."""
    payload = any_payload(random)
    kind = random.random()
    if kind < 0.7:
        return frame(random.choice([1, 1, 2]), payload)
    if kind < 0.85:
        return frame(random.choice([9, 10]), payload[:125])
    if kind < 0.93:
        fragments = [frame(1, payload, fin=False), frame(9, b"between"), frame(0, payload)]
        return b"".join(fragments)
    wrong = [
        lambda: frame(random.randrange(16), payload, fin=random.random() < 0.5),
        lambda: frame(1, payload, rsv=random.randrange(1, 8)),
        lambda: frame(1, payload, masked=False),
        lambda: frame(9, bytes(126)),
        lambda: frame(8, payload[:125]),
        lambda: frame(8, struct.pack("!H", random.randrange(2**16))),
        lambda: frame(0, payload),
        lambda: frame(1, payload, announced=random.choice([2**16, 2**31, 2**63 - 1, 2**64 - 1])),
        lambda: frame(1, payload)[: random.randrange(1, 6)],
        lambda: random.randbytes(random.randrange(1, 200)),
    ]
    return random.choice(wrong)()


def any_handshake(random, paths):
    """Return a request that has something wrong with it, and perhaps frames that follow at once."""
    path = random.choice(
        [
            *paths,
            *("/", "/stats", "/nowhere", "/ws/" + "x" * 200, "/ws/%00", "/static/%00", "/ws/-5"),
            *("/ws?room=" + "r" * 5_000, "/ws?room=%ED%A0%80", "/ws?room=\xff", "/ws/\xe9", "*"),
        ]
    )
    header = random.choice(
        [
            "Origin: \xff",
            "Sec-WebSocket-Key: short",
            "Sec-WebSocket-Version: 12",
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
            "Sec-WebSocket-Protocol: " + "p, " * 500,
            "Content-Length: 10",
            "Transfer-Encoding: chunked",
            "Authorization: Bearer \xff",
            "X: " + "y" * 70_000,
            *("X: y\r\n" * random.choice([1, 200])).strip().splitlines(),
        ]
    )
    whole = bytearray(request(path, header))
    change = random.random()
    if change < 0.3:
        return bytes(whole)
    if change < 0.5:
        return bytes(whole[: random.randrange(len(whole))])
    if change < 0.6:
        return bytes(whole) + any_frame(random)
    if change < 0.7:
        return random.randbytes(random.randrange(1, 500))
    for _ in range(random.randrange(1, 8)):
        whole[random.randrange(min(len(whole), 300))] = random.randrange(256)
    return bytes(whole)
