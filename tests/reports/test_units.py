"""Numbers with units are read as people write them and written as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.units import (
    format_bytes,
    format_change,
    format_count,
    format_figure,
    format_ratio,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_figure,
    parse_rate,
    parse_ratio,
    parse_seconds,
    scale_of,
    significant,
)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_count, "250", 250),
        (parse_count, "10k", 10_000),
        (parse_count, "1.5M", 1_500_000),
        (parse_count, "10,000", 10_000),
        (parse_seconds, "30s", 30),
        (parse_seconds, "2", 2),
        (parse_seconds, "500us", 0.0005),
        (parse_seconds, "0.5 ms", 0.0005),
        (parse_seconds, "2m", 120),
        (parse_bytes, "2GB", 2_000_000_000),
        (parse_bytes, "16KiB", 16_384),
        (parse_bytes, "64", 64),
        (parse_ratio, "1%", 0.01),
        (parse_ratio, "0.5", 0.5),
        (parse_rate, "2k/s", 2000),
        (parse_rate, "30/min", 0.5),
    ],
)
def test_what_people_write_is_read(parse: object, text: str, value: float) -> None:
    assert parse(text) == pytest.approx(value)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("parse", "text", "complaint"),
    [
        (parse_count, "10q", "'10q' is not a count; write it like 10k"),
        (parse_count, "1.5", "not a whole number"),
        (parse_count, "", "not a count"),
        (parse_seconds, "5 parsecs", "'5 parsecs' is not a duration; write it like 30s"),
        (parse_seconds, "nan", "not a duration"),
        (parse_seconds, "1e999", "not a finite duration"),
        (parse_bytes, "2GHz", "units: B, kB"),
        (parse_ratio, "1ms", "not a ratio"),
        (parse_rate, "fast", "not a rate"),
    ],
)
def test_anything_else_is_refused_with_the_text_and_an_example(
    parse: object, text: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (format_seconds(0.00123456), "1.23 ms"),
        (format_seconds(0.9999), "1.00 s"),
        (format_seconds(90), "90.0 s"),
        (format_seconds(0), "0 ns"),
        (format_bytes(243_700_000), "244 MB"),
        (format_bytes(999_999_999), "1.00 GB"),
        (format_ratio(0.0137), "1.37 %"),
        (format_count(10_000.0), "10,000"),
        (format_count(2.5), "2.50"),
        (format_figure("server.memory_bytes", 2e9), "2.00 GB"),
        (format_figure("messages.sent_per_second", 1234.5), "1,230 /s"),
        (format_figure("errors", 0.0), "0"),
    ],
)
def test_figures_have_three_digits_and_their_unit_once(text: str, shown: str) -> None:
    assert text == shown


@given(st.floats(1e-8, 1e3))
def test_a_duration_that_is_written_is_read_back(value: float) -> None:
    assert parse_seconds(format_seconds(value)) == pytest.approx(value, rel=0.006)


@given(st.floats(1.0, 1e12))
def test_a_size_that_is_written_is_read_back(value: float) -> None:
    text = format_bytes(value).replace(",", "")
    assert parse_bytes(text) == pytest.approx(value, rel=0.006, abs=0.5)


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_a_larger_number_is_never_written_as_a_smaller_one(left: float, right: float) -> None:
    low, high = sorted((left, right))
    as_numbers = [float(significant(value).replace(",", "")) for value in (low, high)]
    assert as_numbers == sorted(as_numbers)


def test_a_figure_is_read_in_the_unit_that_its_name_carries() -> None:
    assert parse_figure("latency.mean_seconds", "0.5ms") == 0.0005
    assert parse_figure("errors", "3") == 3.0
    with pytest.raises(ValueError, match="not a size"):
        parse_figure("server.memory_bytes", "2s")


@pytest.mark.parametrize(
    ("figure", "value", "scale"),
    [
        ("latency.p50_seconds", 0.9996, (1.0, "s")),
        ("latency.p50_seconds", 0.0021, (1e-3, "ms")),
        ("latency.p50_seconds", 0.0, (1e-9, "ns")),
        ("server.memory_bytes", 29_100, (1e3, "kB")),
        ("server.cpu_ratio", 0.4, (0.01, "%")),
        ("messages.sent_per_second", 1e6, (1.0, "/s")),
        ("errors", 12, (1.0, "")),
    ],
)
def test_a_column_of_figures_has_one_unit(
    figure: str, value: float, scale: tuple[float, str]
) -> None:
    assert scale_of(figure, value) == scale


@pytest.mark.parametrize(
    ("ratio", "told"),
    [(1.05, "+5.00 %"), (0.95, "−5.00 %"), (1.0, "0 %"), (math.inf, "from 0"), (2.5, "+150 %")],
)
def test_a_ratio_is_written_as_a_change(ratio: float, told: str) -> None:
    assert format_change(ratio) == told
