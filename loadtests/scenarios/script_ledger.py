"""A script's own ledger: which messages of a server's numbered stream arrived, and how."""

from loadtests.measure.ledger import Ledger
from loadtests.measure.recorder import Recorder
from loadtests.scenarios.publication import observe


class ScriptLedger:
    """The sequence numbers of one stream at one connection.

    Numbers that arrive again or after a higher one are counted at once; those that never arrive are
    counted when the connection or the run ends: all that are missing between the first number and
    the last.
    """

    def __init__(self, recorder: Recorder, begin: int | None = None) -> None:
        """Create a ledger.

        Args:
            recorder: where the counts go.
            begin: the number that must come first; None accepts any.
        """
        self._recorder = recorder
        self._ledger = Ledger(from_first=begin is None)
        if begin is not None:
            self._ledger.begin = self._ledger.next_expected = begin
        self._until: int | None = None

    def observe(self, sequence: int) -> bool:
        """Enter a number that arrived; return whether it arrived for the first time."""
        ledger = self._ledger
        if ledger.has_begun and sequence == ledger.next_expected:
            ledger.next_expected = sequence + 1
            return True
        return observe(ledger, sequence, self._recorder)

    def expect(self, until: int) -> None:
        """Declare that all numbers below ``until`` were sent: those that never arrive are lost."""
        self._until = max(until, self._until or until)

    def account(self) -> None:
        """Count the messages that were due, and those that never arrived."""
        ledger = self._ledger
        if not ledger.has_begun:
            return
        due = max(ledger.next_expected, self._until or 0) - ledger.begin
        self._recorder.integrity["expected"] += due
        self._recorder.integrity["lost"] += due - ledger.arrived
