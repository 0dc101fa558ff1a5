"""The messages of an echo load by number: stamp and filler, made once for all connections."""

from typing import Final

from loadtests.measure.stamp import ECHO_BYTES, run_tag
from loadtests.plan.payload import Fillers
from loadtests.plan.plan import Plan

# Making one costs ten times what looking it up does; this many are kept, a few megabytes.
_KEPT: Final = 32_768
# Up to this size a reply is looked up by all of its bytes; hashing more than that costs more than
# looking it up by its stamp and comparing the rest.
_WHOLE_BYTES: Final = 512


class Messages:
    """The messages of a load: every connection numbers its own from 0, so all send the same ones.

    Attributes:
        kept: the first messages, by number; look here before calling :meth:`make`.
        is_whole: whether a reply is recognised by all of its bytes, not by its stamp alone.
        key_bytes: how many of its bytes identify a message.
    """

    def __init__(self, plan: Plan) -> None:
        self.kept: list[bytes] = []
        self._tag = run_tag(plan.seed)
        self._fillers = Fillers(plan, ECHO_BYTES)
        fixed = self._fillers.fixed
        self.is_whole = fixed is not None and len(fixed) <= _WHOLE_BYTES
        self.stamped_bytes = ECHO_BYTES + len(self._fillers[0])
        self.key_bytes = self.stamped_bytes if self.is_whole else ECHO_BYTES
        self.is_fixed = fixed is not None

    def make(self, sequence: int) -> bytes:
        """Make a message that is not kept yet, and keep it if it is one of the first."""
        message = b"%b%012x%b" % (self._tag, sequence, self._fillers[sequence])
        if sequence == len(self.kept) < _KEPT:
            self.kept.append(message)
        return message

    def is_same(self, sequence: int, payload: bytes) -> bool:
        """Return whether a message's stamp is followed by exactly what was sent."""
        filler = self._fillers[sequence]
        return len(payload) == ECHO_BYTES + len(filler) and payload.endswith(filler)

    def is_intact(self, sequence: int, payload: bytes) -> bool:
        """Return whether a message's stamp is followed by what was sent, with or without more."""
        return payload.startswith(self._fillers[sequence], ECHO_BYTES)
