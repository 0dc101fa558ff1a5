"""A stream of frames is taken whole, in order, and a few frames at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from target_app.connections.backlog import Backlog

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
    backlog, taken = Backlog(), b""
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
    assert backlog.is_between_frames


def test_it_is_not_between_frames_while_one_is_there_in_part():
    [frame] = [Frame(Opcode.TEXT, b"x" * 200).serialize(mask=True)]
    backlog = Backlog()
    for n in range(len(frame)):
        assert backlog.is_between_frames == (n == 0)
        backlog.add(frame[n : n + 1])
        assert not backlog.is_between_frames
        assert backlog.take(1) == frame[n : n + 1]
    assert backlog.is_between_frames
