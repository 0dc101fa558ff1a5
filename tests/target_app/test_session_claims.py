"""Who came last, as far as workers know that cannot ask anybody."""

from __future__ import annotations

from target_app.bus.hub import Hub
from target_app.bus.local import LocalBus
from target_app.sessions.claims import Claims
from target_app.sessions.state import Claim


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


def test_claims_of_workers_that_cannot_ask_are_in_the_order_in_which_they_come():
    early, late = Clock(0.0), Clock(500.0)  # when each was started, nobody asks what time it is
    one, other = (Claims(Hub(LocalBus()), None, clock) for clock in (early, late))
    one.saw(Claim(1_000_000_000, "redis"))
    early.now, late.now = 1.0, 501.0
    other.saw(Claim(1_001_000_000, "redis"))
    claims = []
    for worker in (one, other, other, one):
        early.now, late.now = early.now + 1, late.now + 1
        claims.append(worker.next())
    assert claims == sorted(claims)


def test_a_claim_is_greater_than_all_that_were_seen():
    claims = Claims(Hub(LocalBus()), None, Clock(0.0))
    first = claims.next()
    assert claims.next() > first
    claims.saw(Claim(1_000, "other"))
    assert claims.next() > Claim(1_000, "other")
