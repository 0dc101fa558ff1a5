"""The ledger of a script's own: what of a numbered stream of the server's came, and how."""

from loadtests.measure.ledger import Ledger
from loadtests.measure.recorder import Recorder
from loadtests.scenarios.publication import observe


class ScriptLedger:
    """Follows the numbers of one stream at one connection.

    What came again and what came after a higher number is counted at once; what never came when
    the connection or the run ends: all that is missing between the first number and the last.
    """

    def __init__(self, recorder: Recorder, begin: int | None = None) -> None:
        """Begin.

        Args:
            recorder: where the counts go.
            begin: the number that must come first; where it is None, whichever does.
        """
        self._recorder = recorder
        self._ledger = Ledger(from_first=begin is None)
        if begin is not None:
            self._ledger.begin = self._ledger.next_expected = begin
        self._until: int | None = None

    def observe(self, sequence: int) -> bool:
        """Enter a number that came; tells whether it came for the first time."""
        ledger = self._ledger
        if ledger.has_begun and sequence == ledger.next_expected:
            ledger.next_expected = sequence + 1
            return True
        return observe(ledger, sequence, self._recorder)

    def expect(self, until: int) -> None:
        """Say that all numbers below ``until`` were sent: those that never come are lost."""
        self._until = max(until, self._until or until)

    def account(self) -> None:
        """Count what was to come, and what of it never did."""
        ledger = self._ledger
        if not ledger.has_begun:
            return
        due = max(ledger.next_expected, self._until or 0) - ledger.begin
        self._recorder.integrity["expected"] += due
        self._recorder.integrity["lost"] += due - ledger.arrived
