"""The stamp that our messages carry, so that their replies or deliveries are recognised and timed.

A stamp is ASCII, so it is the same in text and binary messages (RFC 6455 section 5.6): a tag of 8
hexadecimal digits that belongs to the run, the sequence number in 12, and for a broadcast, whose
receivers may be in other processes, the intended and the actual send time in 16 each, in
nanoseconds of CLOCK_MONOTONIC, which all processes of one host share.
"""

from hashlib import blake2b
from typing import Final

TAG_BYTES: Final = 8
SEQUENCE_END: Final = TAG_BYTES + 12
INTENDED_END: Final = SEQUENCE_END + 16
SENT_END: Final = INTENDED_END + 16

STREAM_END: Final = TAG_BYTES + 6
STREAM_BYTES: Final = STREAM_END + 6
# A chat's stamp also has the intended time.
CHAT_BYTES: Final = STREAM_BYTES + 16

ECHO_BYTES: Final = SEQUENCE_END
BROADCAST_BYTES: Final = SENT_END


def run_tag(seed: int) -> bytes:
    """Return the tag of a run: messages without it are not of this run.

    It is a digest, because a small seed would have zeros like those in any server's numbers.
    """
    return blake2b(b"%d" % seed, digest_size=TAG_BYTES // 2).hexdigest().encode()


def stream_tag(tag: bytes, stream: int) -> bytes:
    """Return the prefix of every message of one sender, whose number is fleet-wide."""
    return b"%b%06x" % (tag, stream)
