"""The results of a run, as a test reads them: ``result.latency.p99``.

A figure has a dotted name whose last part carries its unit (docs/figures.md); it is an attribute
with or without the unit. One that was not measured is an error, never a number in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_UNITS: Final = ("", "_seconds", "_bytes", "_ratio", "_per_second")
_MOST_NEAR: Final = 3


@dataclass(frozen=True, slots=True, repr=False)
class Figures:
    """The figures of one kind, such as all that begin with ``latency.``.

    Attributes:
        kind: what their names begin with, without the dot.
        values: the figures by the rest of their names, in seconds, bytes, ratios of 1 or counts.
        texts: the same, formatted for people.
    """

    kind: str
    values: Mapping[str, float]
    texts: Mapping[str, str]

    def __getattr__(self, name: str) -> float:
        """Return a figure by the rest of its name, with or without its unit.

        Raises:
            AttributeError: the run measured no such figure; the message names the closest.
        """
        __tracebackhide__ = True
        if not name.startswith("_"):
            for unit in _UNITS:
                if name + unit in self.values:
                    return self.values[name + unit]
        raise _absent(f"{self.kind}.{name}", [f"{self.kind}.{known}" for known in self.values])

    def __dir__(self) -> list[str]:
        """List the figures for an interactive session."""
        return [*object.__dir__(self), *self.values]

    def __repr__(self) -> str:
        """Return all figures with their units, because a failing assertion shows them."""
        parts = (f"{_without_unit(name)} {text}" for name, text in self.texts.items())
        return f"<{self.kind}: {', '.join(parts)}>"


@dataclass(frozen=True, slots=True, repr=False)
class OfUsers:
    """The results of one of several kinds of users; its figures are attributes as in a whole run.

    Attributes:
        figures: the figures by their names.
        texts: the same, formatted for people.
        errors_by_kind: what went wrong, by ``phase:cause``.
    """

    figures: Mapping[str, float]
    texts: Mapping[str, str]
    errors_by_kind: Mapping[str, int]

    def __getattr__(self, name: str) -> Figures:
        """Return the figures of one kind. Raise :class:`AttributeError` if there are none."""
        __tracebackhide__ = True
        return figures_of(name, self.figures, self.texts)


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The results of one valid run; each kind of figures is an attribute.

    Attributes:
        outcome: ``HELD``, or ``FAILED`` if that was not to be raised.
        line: the same with the reason.
        figures: every figure by its full name; one that was not measured is absent.
        texts: the same, formatted for people.
        record: the file that all this is read from.
        errors_by_kind: what went wrong, by ``phase:cause``.
        close_codes: how connections ended, by code.
        warnings: what to know before trusting the figures.
        users: the results of each kind of users, if there are several.
        again: the command that repeats the run.
    """

    outcome: str
    line: str
    figures: Mapping[str, float]
    texts: Mapping[str, str]
    record: Path
    errors_by_kind: Mapping[str, int]
    close_codes: Mapping[int, int]
    warnings: tuple[str, ...]
    users: Mapping[str, OfUsers]
    again: str

    @property
    def errors(self) -> int:
        """The number of errors, of all kinds together."""
        return int(self.figures["errors"])

    def __getattr__(self, name: str) -> Figures:
        """Return the figures of one kind.

        Raises:
            AttributeError: the run measured none; the message names the closest kinds.
        """
        __tracebackhide__ = True
        return figures_of(name, self.figures, self.texts)

    def __dir__(self) -> list[str]:
        """List the kinds of figures for an interactive session."""
        return [*object.__dir__(self), *_kinds(self.figures)]

    def __repr__(self) -> str:
        """Return how the run ended and where its record is."""
        return f"<{self.line}; record {self.record}>"


def figures_of(name: str, figures: Mapping[str, float], texts: Mapping[str, str]) -> Figures:
    """Return the figures of one kind, its name written with ``_`` for ``-``.

    Raises:
        AttributeError: there are none; the message names the closest kinds.
    """
    __tracebackhide__ = True
    kinds = _kinds(figures)
    if name not in kinds:
        raise _absent(name, list(kinds))
    kind = kinds[name]
    own = [figure for figure in figures if figure.startswith(f"{kind}.")]
    rest = {figure: figure.removeprefix(f"{kind}.") for figure in own}
    return Figures(
        kind,
        {rest[figure]: figures[figure] for figure in own},
        {rest[figure]: texts[figure] for figure in own},
    )


def result_of(document: Mapping[str, Any]) -> Result:
    """Return the result from the document of a run."""
    line: str = document["outcome"]
    return Result(
        outcome=line.partition(":")[0],
        line=line,
        figures=document["figures"],
        texts=document["texts"],
        record=Path(document["record"]),
        errors_by_kind=document["errors"],
        close_codes={int(code): count for code, count in document["close_codes"].items()},
        warnings=tuple(document["warnings"]),
        users={
            name: OfUsers(own["figures"], own["texts"], own["errors"])
            for name, own in document["users"].items()
        },
        again=document["again"],
    )


def _kinds(figures: Mapping[str, float]) -> dict[str, str]:
    """Return the kinds that names begin with, by attribute name."""
    kinds = (figure.partition(".")[0] for figure in figures if "." in figure)
    return {kind.replace("-", "_"): kind for kind in kinds}


def _without_unit(name: str) -> str:
    return next((name.removesuffix(unit) for unit in _UNITS[1:] if name.endswith(unit)), name)


def _absent(name: str, known: list[str]) -> AttributeError:
    import difflib  # noqa: PLC0415 - most test sessions never need it

    near = difflib.get_close_matches(name, known, n=_MOST_NEAR, cutoff=0.5)
    meant = f"; the nearest that it did: {', '.join(near)}" if near else ""
    return AttributeError(f"the run measured no {name}{meant} (result.figures has all)")
