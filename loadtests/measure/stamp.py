"""The mark that a message of ours carries, so that its reply or delivery is recognised and timed.

A stamp is ASCII, so it is the same in text and binary messages (RFC 6455 section 5.6): a tag of 8
hexadecimal digits that belongs to the run, the sequence number in 12, and for a broadcast, whose
receivers may sit in other processes, the intended and the actual send time in 16 each, in
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
# What a chat's stamp has besides is the intended time.
CHAT_BYTES: Final = STREAM_BYTES + 16

ECHO_BYTES: Final = SEQUENCE_END
BROADCAST_BYTES: Final = SENT_END


def run_tag(seed: int) -> bytes:
    """Return the tag of a run: messages without it are not of this run.

    It is a digest, for a small seed would have the zeros that any server's numbers have, too.
    """
    return blake2b(b"%d" % seed, digest_size=TAG_BYTES // 2).hexdigest().encode()


def stream_tag(tag: bytes, stream: int) -> bytes:
    """Return what every message of one sender begins with; its number is one of the whole fleet."""
    return b"%b%06x" % (tag, stream)
