"""The histogram bins as HdrHistogram does, merges without loss, and never drops a value."""

import base64
import gc
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from reports.histogram import HIGHEST_TRACKABLE_NS, Histogram, merged

durations = st.integers(0, HIGHEST_TRACKABLE_NS)
batches = st.lists(durations, min_size=1, max_size=200)


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record(values)
    return histogram


def hdr_of(values: list[int]) -> HdrHistogram:
    hdr = HdrHistogram(1, HIGHEST_TRACKABLE_NS, 3)
    for value in values:
        assert hdr.record_value(value)
    return hdr


@given(batches)
def test_counts_are_those_of_the_reference_implementation(values: list[int]) -> None:
    ours = Histogram.decode(hdr_of(values).encode().decode())
    assert ours.bins() == histogram_of(values).bins()


@given(batches)
def test_the_encoding_is_read_by_the_reference_implementation(values: list[int]) -> None:
    read = HdrHistogram.decode(histogram_of(values).encode())
    expected = hdr_of(values)
    assert histogram_of(values).encode().encode() == expected.encode()
    assert read.get_total_count() == len(values)
    for percentile in (50, 90, 99, 100):
        assert read.get_value_at_percentile(percentile) == expected.get_value_at_percentile(
            percentile
        )


@given(batches)
def test_encoding_and_decoding_loses_nothing(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert Histogram.decode(histogram.encode()).bins() == histogram.bins()


def test_a_histogram_is_encoded_and_decoded_without_a_cycle() -> None:
    """In a swarm process the collector of cycles comes late; the package left one a call."""
    histogram = histogram_of([1, 1000, 1_000_000])
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            Histogram.decode(histogram.encode())
        assert gc.collect() == 0
    finally:
        gc.enable()


@given(batches, batches)
def test_merging_is_recording_both(left: list[int], right: list[int]) -> None:
    both = merged([histogram_of(left), histogram_of(right)])
    assert both.bins() == histogram_of(left + right).bins()


@given(batches, st.floats(0, 100))
def test_a_percentile_is_within_three_digits_of_the_exact_one(
    values: list[int], percentile: float
) -> None:
    exact = int(np.percentile(values, percentile, method="inverted_cdf"))
    reported = histogram_of(values).percentile_ns(percentile)
    assert exact <= reported <= exact * 1.001 + 1


@given(batches)
def test_mean_minimum_and_maximum_are_within_three_digits(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert histogram.mean_ns == pytest.approx(np.mean(values), rel=0.001, abs=1)
    assert histogram.min_ns == pytest.approx(min(values), rel=0.001, abs=1)
    assert histogram.max_ns == pytest.approx(max(values), rel=0.001, abs=1)
    assert histogram.count == len(values)


def test_a_value_above_the_range_is_counted_and_told() -> None:
    histogram = histogram_of([1, HIGHEST_TRACKABLE_NS + 1, HIGHEST_TRACKABLE_NS * 5])
    assert histogram.count == 3
    assert histogram.clipped == 2
    assert merged([histogram, histogram]).clipped == 4


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="negative: -5 ns"):
        histogram_of([3, -5])


def test_an_empty_histogram_has_no_figures_but_can_be_kept() -> None:
    empty = Histogram.decode(Histogram().encode())
    assert empty.count == 0
    with pytest.raises(ValueError, match="empty"):
        _ = empty.mean_ns
    with pytest.raises(ValueError, match="empty"):
        empty.percentile_ns(50)


@pytest.mark.parametrize("percentile", [-1, 100.1, float("nan")])
def test_a_percentile_outside_0_to_100_is_refused(percentile: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        histogram_of([1]).percentile_ns(percentile)


@pytest.mark.parametrize("text", ["HISTFAAAnonsense", "", "HISTFA==", "ä", "HISTFAAAAAA="])
def test_text_that_is_no_histogram_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an HdrHistogram"):
        Histogram.decode(text)


@given(batches, st.data())
def test_a_damaged_text_is_refused_or_read_as_another(
    values: list[int], data: st.DataObject
) -> None:
    raw = bytearray(base64.b64decode(histogram_of(values).encode()))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    del raw[data.draw(st.integers(0, len(raw))) :]
    with suppress(ValueError):
        Histogram.decode(base64.b64encode(raw).decode())


@given(st.binary(max_size=40))
def test_any_counts_are_read_or_refused(numbers: bytes) -> None:
    """As of a foreign record: half a number, one of more bits than a count has."""
    header = struct.pack(">IIIIQQd", 0x1C849313, len(numbers), 0, 3, 1, HIGHEST_TRACKABLE_NS, 1.0)
    deflated = zlib.compress(header + numbers)
    outer = struct.pack(">II", 0x1C849314, len(deflated))
    with suppress(ValueError):
        assert Histogram.decode(base64.b64encode(outer + deflated).decode()).count >= 0


def test_a_histogram_of_a_longer_range_is_refused_where_it_holds_more_than_an_hour() -> None:
    other = HdrHistogram(1, 100 * HIGHEST_TRACKABLE_NS, 3)
    other.record_value(1000)
    assert Histogram.decode(other.encode().decode()).count == 1
    other.record_value(50 * HIGHEST_TRACKABLE_NS)
    with pytest.raises(ValueError, match="above one hour"):
        Histogram.decode(other.encode().decode())


def test_a_histogram_of_another_precision_is_refused() -> None:
    other = HdrHistogram(1, 1_000_000, 2)
    other.record_value(5)
    with pytest.raises(ValueError, match="2 digits"):
        Histogram.decode(other.encode().decode())


@given(st.lists(st.integers(0, 10**9), max_size=50), st.integers(0, 10**9))
def test_those_above_a_value_are_counted_to_three_digits(values: list[int], value: int) -> None:
    histogram = Histogram()
    histogram.record(values)
    above = histogram.count_above(value)
    assert sum(it > value * 1.001 + 1 for it in values) <= above <= sum(it > value for it in values)
