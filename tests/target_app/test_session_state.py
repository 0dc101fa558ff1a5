"""What is kept of a session: its text, its order, its memory; answers from outside."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app.sessions.memory_store import MemoryStore
from target_app.sessions.redis_answers import from_outside
from target_app.sessions.session import known
from target_app.sessions.state import (
    KEPT_ANSWERS,
    NOBODY,
    Claim,
    NotUnderstoodError,
    SessionState,
    answer_from,
    compact,
    digest,
    event,
    from_text,
    handed_over,
    to_hand_over,
    to_text,
)
from target_app.sessions.store import NotOwnerError, StoreFullError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=3)
CLAIMS = st.builds(Claim, st.integers(0, 2**53), st.text("abcdef0123456789", max_size=12))
STATES = st.builds(
    SessionState,
    progress=st.none() | OBJECTS.map(compact),
    classes=st.lists(NAMES, max_size=3, unique=True).map(tuple),
    answers=st.lists(OBJECTS.map(compact), max_size=3).map(tuple),
    owner=st.none() | NAMES,
    claim=CLAIMS,
    changes=st.integers(0, 2**53),
    left=st.lists(NAMES, max_size=3, unique=True).map(tuple),
    partial=st.booleans(),
    noted=st.tuples(CLAIMS, st.integers(0, 2**53)),
)


@given(STATES)
def test_a_state_is_the_same_after_it_was_kept_or_handed_over(state):
    kept = from_text(to_text(state))
    assert (kept.progress, kept.classes) == (state.progress, state.classes)
    assert (kept.age, kept.noted) == (state.age, state.noted)
    assert handed_over(json.loads(json.dumps(to_hand_over(state)))) == state


ANY_TEXT = st.text() | st.sampled_from(["\ud800", "\udfff!"])
"""Also with half surrogate pairs, which JSON can name and nobody can send."""
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
ANY_OBJECTS = st.dictionaries(ANY_TEXT, ANY_JSON, max_size=3)
LIKE_OURS = st.fixed_dictionaries(
    {"progress": st.none() | ANY_OBJECTS | ANY_JSON, "classes": st.lists(ANY_TEXT) | ANY_JSON},
    optional={
        "changes": st.integers() | ANY_JSON,
        "claim": st.tuples(st.integers(), ANY_TEXT) | ANY_JSON,
        "noted": st.tuples(st.integers(), ANY_TEXT, st.integers()) | ANY_JSON,
    },
)
LIKE_ANSWERS = st.fixed_dictionaries(
    {"session_id": ANY_TEXT | st.integers()},
    optional={"response": ANY_OBJECTS | ANY_TEXT, "type": ANY_TEXT, "payload": ANY_JSON},
)


def written(found):
    """Return what another program may write: JSON, in ASCII or in something like UTF-8."""
    text = json.dumps(found)
    return st.sampled_from(
        [text.encode(), json.dumps(found, ensure_ascii=False).encode(errors="surrogatepass")]
    )


def understood(parse, text):
    try:
        return parse(text)
    except NotUnderstoodError as error:
        compact(str(error))  # its client can be told
        return None


@given(st.binary() | (ANY_JSON | LIKE_OURS).flatmap(written))
def test_whatever_is_kept_is_a_state_that_can_be_kept_or_is_not_understood(text):
    if (state := understood(from_text, text)) is None:
        return
    assert state.progress is None or isinstance(json.loads(state.progress), dict)
    assert from_text(to_text(state)) == state
    assert handed_over(json.loads(json.dumps(to_hand_over(state)))) == state
    assert state.kept_bytes() >= sum(len(name.encode()) for name in state.classes)


@given(st.binary() | (ANY_JSON | ANY_OBJECTS).flatmap(written))
def test_whatever_is_kept_as_an_answer_is_an_object_that_can_be_sent_or_is_not_understood(text):
    if (answer := understood(answer_from, text)) is None:
        return
    assert isinstance(json.loads(answer.decode()), dict)
    assert answer_from(answer) == answer


@given(OBJECTS.filter(lambda found: not {"progress", "classes"} <= found.keys()))
def test_any_other_object_is_the_progress(found):
    assert json.loads(from_text(compact(found)).progress) == found


@pytest.mark.parametrize("depth", [10_000, 100_000])
def test_what_is_nested_too_deeply_is_not_understood(depth):
    with pytest.raises(NotUnderstoodError):
        from_text(b"[" * depth + b"]" * depth)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", 10**5000], ids=range(4))
def test_what_json_cannot_hold_is_not_kept(value):
    with pytest.raises(ValueError):  # noqa: PT011 - any of its kinds
        compact({"value": value})


@given(NAMES, OBJECTS)
def test_an_event_is_json(kind, payload):
    assert json.loads(event(kind, compact(payload))) == {"type": kind, "payload": payload}


@given(st.binary() | (ANY_JSON | LIKE_ANSWERS).flatmap(written))
def test_whatever_is_published_is_an_answer_or_an_error_of_its_value(data):
    try:
        session_id, answer, _ = from_outside(data)
    except ValueError:
        return
    assert session_id.encode().decode() == session_id
    assert isinstance(json.loads(answer.decode())["type"], str)
    assert answer_from(answer) == answer


FIRST, SECOND, THIRD = (Claim(number, "") for number in (1, 2, 3))
NOTHING_READ = SessionState(partial=True)


def page(number):
    return compact({"page": number})


@given(st.permutations([FIRST, SECOND, THIRD]), st.sampled_from([FIRST, SECOND, THIRD]))
def test_of_what_was_noted_the_newest_counts_whoever_knew_of_it(claims, who_knew):
    states = {
        claim: SessionState(partial=claim != who_knew).read_on(claim, page(claim.number))
        for claim in claims
    }
    assert known(states.values()).progress == page(3)


def test_what_is_newer_in_something_else_is_not_newer_in_what_was_read():
    kept = SessionState().read_on(FIRST, page(3)).changed(THIRD, classes=("7b",))
    found = known([kept, NOTHING_READ.read_on(SECOND, page(4))])
    assert (found.progress, found.classes) == (page(4), ("7b",))


def test_changes_of_who_did_not_know_the_state_are_added_to_it_if_they_are_newer():
    kept = SessionState().changed(SECOND, classes=("7b", "8a"))
    older = NOTHING_READ.changed(FIRST, classes=("6c",))
    newer = NOTHING_READ.changed(THIRD, classes=("9d",)).without_class(THIRD, "7b")
    assert known([newer, older, kept]).classes == ("8a", "9d")
    assert not known([newer, kept]).partial
    assert known([newer, older]).partial
    assert known([newer, older]).classes == ("6c", "9d")


# In memory


class Memory:
    """A store with a clock of its own, and what it has forgotten for want of room."""

    def __init__(self, most_bytes=10**9):
        self.now = 0.0
        self.forgotten = 0
        self.store = MemoryStore(300.0, most_bytes, self.forget, lambda: self.now)

    def forget(self):
        self.forgotten += 1

    async def visit(self, name, number, size=0, owner=None):
        claim = Claim(number, "here")
        opened = await self.store.open(name, owner, claim)
        state = (opened.state or SessionState()).changed(claim, progress=compact({"x": "x" * size}))
        assert await self.store.save(name, state, claim)
        await self.store.close(name, state, claim)
        return opened


async def test_no_more_than_the_bound_is_kept_and_those_away_longest_go():
    memory = Memory(most_bytes=100_000)
    for n in range(100):
        memory.now += 1
        await memory.visit(f"s{n}", n, size=9_000)
        assert memory.store.bytes <= 100_000
    assert memory.forgotten == 100 - len(memory.store)
    assert 5 <= len(memory.store) <= 10
    assert (await memory.store.open("s99", None, Claim(200, ""))).state is not None
    assert (await memory.store.open("s0", None, Claim(201, ""))).state is None


async def test_those_who_are_connected_stay_and_may_not_grow_beyond_the_bound():
    memory = Memory(most_bytes=10_000)
    claim = Claim(1, "here")
    opened = await memory.store.open("here", None, claim)
    state = SessionState().changed(claim, progress=compact({"x": "x" * 6_000}))
    assert opened.state is None
    assert await memory.store.save("here", state, claim)
    await memory.visit("away", 2, size=1_000)
    larger = state.changed(claim, progress=compact({"x": "x" * 20_000}))
    with pytest.raises(StoreFullError):
        await memory.store.save("here", larger, claim)
    assert (await memory.store.open("here", None, Claim(3, ""))).state.progress == state.progress


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "close", "answer", "take", "give"]),
            st.sampled_from("abc"),
            st.integers(0, 2_000),
        ),
        max_size=40,
    )
)
async def test_the_bytes_that_are_counted_are_those_that_are_kept(steps):
    memory, store, claims = Memory(), None, {}
    store = memory.store
    for number, (what, name, size) in enumerate(steps, 1):
        if what == "open":
            claims[name] = Claim(number, "")
            await store.open(name, None, claims[name])
            state = SessionState().changed(claims[name], progress=b"x" * size)
            await store.save(name, state, claims[name])
        elif what == "close" and name in claims:
            await store.close(name, SessionState(), claims[name])
        elif what == "answer":
            await store.keep_answer(name, b"%d" % size)
        elif what == "take":
            for answer in await store.answers(name):
                await store.forget_answer(name, answer)
        elif what == "give":
            state = await store.offer(name)
            answers = () if state is None else map(digest, state.answers[:1])
            await store.taken(name, Claim(number, ""), tuple(answers))
        kept = [*store._connected.values(), *(state for _, state in store._away.values())]
        assert store.bytes == sum(state.kept_bytes() for state in kept)


async def test_the_last_answers_are_kept_each_once():
    store = Memory().store
    for n in range(KEPT_ANSWERS + 3):
        for _ in range(2):
            await store.keep_answer("s", b"%d" % n)
    assert await store.answers("s") == [b"%d" % n for n in range(3, KEPT_ANSWERS + 3)]


async def test_a_session_of_nobody_becomes_that_of_the_first_who_says_who_he_is():
    memory = Memory()
    assert (await memory.visit("s", 1, size=5)).state is None
    assert (await memory.visit("s", 2, owner="alice")).state.progress == b'{"x":"xxxxx"}'
    for other in ("bob", None):
        with pytest.raises(NotOwnerError):
            await memory.visit("s", 3, owner=other)


async def test_a_session_is_forgotten_when_its_time_is_over():
    memory = Memory()
    await memory.visit("s", 1)
    memory.now += 299
    await memory.store.sweep()
    assert len(memory.store) == 1
    memory.now += 2
    await memory.store.sweep()
    assert (len(memory.store), memory.store.bytes) == (0, 0)


def test_nobody_is_less_than_every_claim():
    assert Claim(1, "") > NOBODY
