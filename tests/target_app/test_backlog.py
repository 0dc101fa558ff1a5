"""A stream of frames is taken whole, in order, and a few frames at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from target_app.connections.backlog import Backlog, is_between_frames

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
    backlog = Backlog(is_between_frames=True)
    for n in range(len(frame)):
        assert backlog.is_done == (n == 0)
        backlog.add(frame[n : n + 1])
        assert not backlog.is_done
        assert backlog.take(1) == frame[n : n + 1]
    assert backlog.is_done


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
