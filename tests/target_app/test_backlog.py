"""A stream of frames is taken whole, in order, and a few frames at a time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from target_app.connections.backlog import (
    FRAGMENT_BYTES,
    LONGEST_HEAD,
    Backlog,
    is_between_frames,
)

SIZES = st.integers(0, 300) | st.sampled_from([125, 126, 127, 65_535, 65_536])
FRAMES = st.lists(st.tuples(SIZES, st.booleans()), max_size=12)


def stream(frames):
    whole = [
        Frame(Opcode.TEXT, bytes(size)).serialize(mask=is_masked) for size, is_masked in frames
    ]
    ends, end = [], 0
    for frame in whole:
        end += len(frame)
        ends.append(end)
    return b"".join(whole), ends


@given(FRAMES, st.data(), st.integers(1, 5))
def test_a_part_ends_so_many_frames_or_takes_all_there_is(frames, data, at_once):
    sent, ends = stream(frames)
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=8).map(sorted))
    backlog, taken = Backlog(is_between_frames=True), b""
    for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        backlog.add(sent[first:last])
        for _ in range(data.draw(st.integers(0, 3))):
            part = backlog.take(at_once)
            ended = [end for end in ends if len(taken) < end <= len(taken) + len(part)]
            taken += part
            assert len(ended) == at_once or (len(ended) < at_once and not backlog)
            if len(ended) == at_once:
                assert len(taken) == ended[-1]
    while backlog:
        taken += backlog.take(at_once)
    assert taken == sent
    assert backlog.is_done


def test_it_is_not_between_frames_while_one_is_there_in_part():
    [frame] = [Frame(Opcode.TEXT, b"x" * 200).serialize(mask=True)]
    backlog, taken = Backlog(is_between_frames=True), b""
    for n in range(len(frame)):
        assert backlog.is_done == (n == 0)
        backlog.add(frame[n : n + 1])
        assert not backlog.is_done
        taken += backlog.take(1)
        # A head is taken as a whole.
        assert taken == (frame[: n + 1] if n + 1 >= 8 else b"")
    assert backlog.is_done


def messages(protocol):
    """Return the messages that a protocol has parsed, put together; each with its opcode."""
    whole = []
    for frame in protocol.events_received():
        if frame.opcode is Opcode.CONT:
            whole[-1][1].append(frame.data)
        else:
            whole.append((frame.opcode, [frame.data]))
    return [(opcode, b"".join(parts), len(parts)) for opcode, parts in whole]


LARGE = st.integers(FRAGMENT_BYTES - 2, 3 * FRAGMENT_BYTES + 2) | st.sampled_from([0, 5, 300])
KINDS = st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING])


@settings(deadline=None)
@given(st.lists(st.tuples(LARGE, KINDS), max_size=4), st.data())
def test_a_large_frame_is_taken_as_fragments_and_means_the_same(frames, data):
    sent = b"".join(
        Frame(kind, (bytes(range(256)) * (size // 256 + 1))[:size] if kind != Opcode.PING else b"p")
        .serialize(mask=True)
        for size, kind in frames
    )  # fmt: skip
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=6).map(sorted))
    backlog = Backlog(is_between_frames=True)
    parsed, plain = ServerProtocol(state=State.OPEN), ServerProtocol(state=State.OPEN)
    for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        backlog.add(sent[first:last])
        while backlog:
            part = backlog.take(2)
            assert len(part) <= 2 * (FRAGMENT_BYTES + LONGEST_HEAD)
            parsed.receive_data(part)
    assert backlog.is_done
    plain.receive_data(sent)
    found, wanted = messages(parsed), messages(plain)
    assert [it[:2] for it in found] == [it[:2] for it in wanted]
    assert [it[2] for it in found] == [max(1, -(-len(it[1]) // FRAGMENT_BYTES)) for it in found]


@given(st.booleans(), st.integers(1, 3))
def test_a_fragment_of_a_client_is_split_as_a_whole_frame_is(is_last, pieces):
    size = pieces * FRAGMENT_BYTES + 1
    first = Frame(Opcode.TEXT, b"a", fin=False).serialize(mask=True)
    large = Frame(Opcode.CONT, b"b" * size, fin=is_last).serialize(mask=True)
    backlog, protocol = Backlog(is_between_frames=True), ServerProtocol(state=State.OPEN)
    backlog.add(first + large)
    protocol.receive_data(backlog.take(100))
    events = protocol.events_received()
    assert [frame.fin for frame in events] == [False] * (len(events) - 1) + [is_last]
    assert [frame.opcode for frame in events] == [Opcode.TEXT] + [Opcode.CONT] * (len(events) - 1)
    assert b"".join(frame.data for frame in events) == b"a" + b"b" * size


@pytest.mark.parametrize(
    ("kind", "is_masked", "largest"),
    [
        (Opcode.TEXT, True, FRAGMENT_BYTES),  # too large, which its head tells
        (Opcode.TEXT, False, None),  # not masked
        (Opcode.PING, True, None),  # longer than a control frame may be
    ],
)
def test_what_is_refused_by_its_head_goes_on_as_it_is(kind, is_masked, largest):
    frame = Frame(Opcode.TEXT, bytes(FRAGMENT_BYTES + 1)).serialize(mask=is_masked)
    frame = bytes((0x80 | kind,)) + frame[1:]
    backlog = Backlog(is_between_frames=True, largest=largest)
    backlog.add(frame)
    assert backlog.take(1) == frame


@given(st.lists(SIZES, min_size=1, max_size=12), st.data())
def test_begun_in_the_middle_of_a_frame_it_takes_little_until_one_ends(sizes, data):
    sent, ends = stream([(size, True) for size in sizes])
    begun = data.draw(st.integers(1, len(sent)))
    protocol = ServerProtocol(state=State.OPEN)
    protocol.receive_data(sent[:begun])
    backlog, taken = Backlog(is_between_frames=is_between_frames(protocol.parser)), begun
    assert is_between_frames(protocol.parser) == (begun in ends)
    backlog.add(sent[begun:])
    while backlog:
        part = backlog.take(2)
        protocol.receive_data(part)
        ended = [end for end in ends if taken < end <= taken + len(part)]
        taken += len(part)
        assert len(ended) <= 2
        backlog.look_at(protocol.parser)
    assert taken == len(sent)
    assert backlog.is_done
    assert [len(frame.data) for frame in protocol.events_received()] == sizes
