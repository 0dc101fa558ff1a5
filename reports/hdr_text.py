"""The text of a histogram: HdrHistogram V2, compressed, base64, as any HdrHistogram tool reads it.

The format is that of the Java implementation (Gil Tene, ``encodeIntoCompressedByteBuffer`` of
https://github.com/HdrHistogram/HdrHistogram): a cookie and a length, followed by a deflated header
and the counts. A count is a ZigZag LEB128 number; a negative one, -n, stands for n zeros.
"""

import base64
import binascii
import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

_COOKIE: Final = 0x1C849303 | 0x10
_COMPRESSED_COOKIE: Final = 0x1C849304 | 0x10
_OUTER: Final = struct.Struct(">II")
# Cookie, bytes of counts, offset of the first index, digits, lowest, highest, ratio to integers.
_HEADER: Final = struct.Struct(">IIIIQQd")
# The most that a text may inflate to: nine bytes for each of 500,000 bins.
_MOST_BYTES: Final = 4_500_000
# Seven-bit groups in a number; a ninth is only needed for counts of 2**55 or more, which nothing
# reaches.
_MOST_SEPTETS: Final = 8

Ints = npt.NDArray[np.int64]


def encode(indices: Ints, counts: Ints, digits: int, highest: int) -> str:
    """Encode a histogram whose lowest value is 1.

    Args:
        indices: the index of every occupied bin, in ascending order.
        counts: the counts of these bins.
        digits: significant decimal digits.
        highest: the highest trackable value.
    """
    zeros = np.diff(indices, prepend=-1) - 1
    # ZigZag: 2n for n, 2n - 1 for -n.
    both = np.stack((2 * zeros - 1, 2 * counts), axis=1)
    numbers = _leb128(both[both >= 0])
    header = _HEADER.pack(_COOKIE, len(numbers), 0, digits, 1, highest, 1.0)
    deflated = zlib.compress(header + numbers)
    return base64.b64encode(_OUTER.pack(_COMPRESSED_COOKIE, len(deflated)) + deflated).decode()


def decode(text: str, digits: int) -> tuple[Ints, Ints]:
    """Decode the indices and the counts of the occupied bins, in ascending order.

    Raises:
        ValueError: not an HdrHistogram, or one with a different precision.
    """
    try:
        (_, _, _, their_digits, lowest, _, _), numbers = _inflate(text)
        zigzag = _from_leb128(numbers)
    except (ValueError, struct.error, zlib.error, binascii.Error) as error:
        raise ValueError(f"not an HdrHistogram V2 text: {text[:40]!r} ({error})") from error
    if (their_digits, lowest) != (digits, 1):
        raise ValueError(
            f"the histogram counts from {lowest} in {their_digits} digits; "
            f"expected from 1 ns in {digits}"
        )
    is_zeros = (zigzag & 1).astype(bool)
    following = np.cumsum(np.where(is_zeros, (zigzag + 1) >> 1, 1))
    is_occupied = ~is_zeros & (zigzag > 0)
    return following[is_occupied] - 1, zigzag[is_occupied] >> 1


def _inflate(text: str) -> tuple[tuple[int, ...], bytes]:
    """Return the header and the numbers."""
    raw = base64.b64decode(text, validate=True)
    cookie, length = _OUTER.unpack_from(raw)
    if cookie != _COMPRESSED_COOKIE or length != len(raw) - _OUTER.size:
        raise ValueError("it starts differently, or is cut off")
    inflating = zlib.decompressobj()
    payload = inflating.decompress(raw[_OUTER.size :], _MOST_BYTES)
    header = _HEADER.unpack_from(payload)
    numbers = payload[_HEADER.size :]
    if not inflating.eof or header[0] != _COOKIE or header[1] != len(numbers):
        raise ValueError("its counts start differently, or are cut off")
    return header, numbers


def _leb128(numbers: Ints) -> bytes:
    """Encode numbers of 0 or more, seven bits a byte, lowest first; all but the last set bit 8."""
    shifted = numbers[:, np.newaxis] >> (7 * np.arange(_MOST_SEPTETS))
    is_there = shifted > 0
    is_there[:, 0] = True
    goes_on = shifted > 0x7F
    return ((shifted & 0x7F) | (goes_on << 7))[is_there].astype(np.uint8).tobytes()


def _from_leb128(text: bytes) -> Ints:
    """Decode them. Raises ValueError for an incomplete number, and for one of 2**56 or more."""
    septets = np.frombuffer(text, np.uint8).astype(np.int64)
    (lasts,) = np.nonzero(septets <= 0x7F)
    firsts = np.concatenate(([0], lasts + 1))
    if firsts[-1] != len(septets):
        raise ValueError("its last count is cut off")
    lengths = np.diff(firsts)
    if (lengths > _MOST_SEPTETS).any():
        raise ValueError("a count is 2**55 or more")
    if not lasts.size:
        return septets
    places = np.arange(len(septets)) - np.repeat(firsts[:-1], lengths)
    return np.add.reduceat((septets & 0x7F) << (7 * places), firsts[:-1])
