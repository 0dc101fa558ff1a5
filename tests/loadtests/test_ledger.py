"""The ledger counts lost, duplicated and reordered apart and exactly, whatever arrives."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loadtests.measure.ledger import Ledger


def observed(sequences: list[int]) -> tuple[Ledger, list[bool]]:
    ledger = Ledger()
    return ledger, [ledger.observe(sequence) for sequence in sequences]


def test_what_arrives_in_order_is_neither_lost_nor_anything_else() -> None:
    ledger, _ = observed([0, 1, 2])
    assert (ledger.lost(3), ledger.duplicated, ledger.reordered) == (0, 0, 0)


def test_one_lost_and_one_duplicated_do_not_cancel() -> None:
    ledger, _ = observed([0, 0, 2])
    assert (ledger.lost(3), ledger.duplicated, ledger.reordered) == (1, 1, 0)


def test_two_that_changed_places_are_one_reordered() -> None:
    ledger, _ = observed([0, 2, 1, 3])
    assert (ledger.lost(4), ledger.duplicated, ledger.reordered) == (0, 0, 1)


def test_a_reordered_one_that_comes_again_is_duplicated_too() -> None:
    ledger, first = observed([1, 0, 0])
    assert first == [True, True, False]
    assert (ledger.lost(2), ledger.duplicated, ledger.reordered) == (0, 1, 1)


def test_what_never_came_at_the_end_is_lost() -> None:
    ledger, _ = observed([0])
    assert ledger.lost(4) == 3


@given(st.lists(st.integers(0, 60), max_size=200), st.integers(0, 80))
def test_the_counts_are_those_of_their_definitions(sequences: list[int], sent: int) -> None:
    sent = max([sent, *(sequence + 1 for sequence in sequences)])
    ledger, first = observed(sequences)
    firsts = list(dict.fromkeys(sequences))
    highest_before = [max(firsts[:n], default=-1) for n in range(len(firsts))]
    assert ledger.arrived == len(firsts)
    assert ledger.lost(sent) == sent - len(firsts)
    assert ledger.duplicated == sum(count - 1 for count in Counter(sequences).values())
    # RFC 4737 section 3.3: reordered if its number is below the next expected one.
    assert ledger.reordered == sum(
        sequence < highest for sequence, highest in zip(firsts, highest_before, strict=True)
    )
    assert sum(first) == len(firsts)


@given(st.integers(0, 40), st.lists(st.integers(0, 60), min_size=1, max_size=100))
def test_a_stream_that_begins_anywhere_has_the_counts_of_one_that_is_shifted(
    begin: int, sequences: list[int]
) -> None:
    lowest = min(sequences)
    ledger = Ledger(from_first=True)
    assert (ledger.arrived, ledger.has_begun) == (0, False)
    first = [ledger.observe(begin + sequence) for sequence in sequences]
    firsts = list(dict.fromkeys(sequences))
    highest_before = [max(firsts[:n], default=-1) for n in range(len(firsts))]
    assert (ledger.begin, ledger.next_expected) == (begin + lowest, begin + max(sequences) + 1)
    assert ledger.arrived == sum(first) == len(firsts)
    assert ledger.duplicated == len(sequences) - len(firsts)
    assert ledger.reordered == sum(
        sequence < highest for sequence, highest in zip(firsts, highest_before, strict=True)
    )
