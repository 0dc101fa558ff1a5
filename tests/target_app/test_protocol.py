"""What is made of a client's message, whatever it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from target_app.protocol import (
    PROBLEMS_TOLD,
    REPEATED_CHARACTERS,
    NotUnderstood,
    SessionMessage,
    WebsocketEvent,
    cut,
    parsed,
)

LONGEST_PROBLEM = (PROBLEMS_TOLD + 2) * (REPEATED_CHARACTERS + 2) + 100

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
EVENTS = st.fixed_dictionaries(
    {"event": st.text(max_size=70), "client_id": st.text(max_size=70), "data": JSON},
    optional={"timestamp": JSON, "type": JSON, "x" * 99: JSON},
) | st.fixed_dictionaries({"type": st.text(max_size=70)}, optional={"payload": JSON})
SAID = st.text() | st.binary() | (JSON | EVENTS).map(json.dumps)


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def understood(model, said):
    try:
        return (), parsed(model, said).message()
    except NotUnderstood as error:
        return error.problems, None


@given(SAID, st.sampled_from([WebsocketEvent, SessionMessage]))
@example('{"type": "x", "payload": {"a": "\\ud800"}}', SessionMessage)
@example('{"type": "x", "payload": {"a": NaN}}', SessionMessage)
@example('{"type": "x", "payload": {"a": 1e999}}', SessionMessage)
@example('{"type": "x", "payload": {"a": %s}}' % ("9" * 1_900), SessionMessage)
@example("[" * 1_000, SessionMessage)
def test_what_was_said_is_strict_json_or_is_told_in_bounded_words(said, model):
    problems, message = understood(model, said)
    assert (message is None) is (1 <= len(problems) <= PROBLEMS_TOLD)
    for problem in problems:
        assert len(problem.at) <= REPEATED_CHARACTERS + 1
        assert 0 < len(problem.problem) <= LONGEST_PROBLEM
        json.dumps([problem.at, problem.problem]).encode()
    if message is not None:
        strict(message.data)


def test_any_number_of_other_keys_is_one_problem():
    said = json.dumps({"event": "x", "data": {"data": {}}, **{f"k{n}": 0 for n in range(7)}})
    with pytest.raises(NotUnderstood) as refusal:
        parsed(WebsocketEvent, said)
    (problem,) = refusal.value.problems
    assert problem.at == ""
    assert problem.problem == "takes only event, client_id, data; not k0, k1, k2, k3, k4 and 2 more"


def test_the_last_of_two_values_under_one_key_stands_for_everybody():
    said = '{"event": "x", "client_id": "", "data": {"data": {"a": 1, "a": 2}}}'
    assert parsed(WebsocketEvent, said).data.data == {"a": 2}


@given(st.text())
def test_what_is_repeated_is_cut(text):
    assert cut(text)[:REPEATED_CHARACTERS] == text[:REPEATED_CHARACTERS]
    assert len(cut(text)) <= REPEATED_CHARACTERS + 1
