"""What a scenario measures: declared by it, and carried in the header of each of its runs."""

from dataclasses import dataclass

from reports.figure import Figure


@dataclass(frozen=True, slots=True)
class Measures:
    """What a scenario measures itself, and how its load is to be judged.

    Attributes:
        main: the kinds of durations that its messages are about; failures are reported under the
            first.
        durations: the kinds that it adds to the catalogue, each of which has every statistic.
        figures: what else it measures, such as counts, as ``name.what``.
        reaches_rate: its rate is a rate of messages, sent on schedule until the end of the load: a
            run in which fewer were sent is invalid.
        in_bursts: one message arrives at many connections at once: an event loop that lags while
            they are received is part of the deliveries, and does not invalidate the run.
        has_ledger: the fate of its messages is on the ledger, so that what never arrived is lost.
    """

    main: tuple[str, ...] = ()
    durations: tuple[Figure, ...] = ()
    figures: tuple[Figure, ...] = ()
    reaches_rate: bool = False
    in_bursts: bool = False
    has_ledger: bool = False

    @property
    def are_replies(self) -> bool:
        """Whether each message is answered on its own connection."""
        return self.main[:1] == ("latency",)
