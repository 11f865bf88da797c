"""The exchange's time, made of our monotonic clock and of what the exchange says the time is.

A step of the host's clock changes nothing here. Time stands still rather than run backwards for the
small corrections of every measurement. A large one is believed when a second word agrees with it,
because the exchange refuses what is signed with a wrong time; a single wrong word must not move
time ahead: the core's never runs backwards, and until it was caught up with no deadline would pass.
A question that took long may be wrong by half of that: it counts only where it proves ours wrong,
or where nothing better is known.
"""

import math
import time
from collections.abc import Callable
from typing import Protocol

MOST_HELD_MS = 1_000  # time stands still for at most this long
LONG_S = 1.0  # from question to answer; as a rule it is a tenth of that
FAR_MS = 60_000  # a correction that needs a second word
AGREED_MS = 5_000  # two words of the exchange that are no further apart agree


class Clock(Protocol):
    """What the adapter needs of a clock: exchange time, and a word of the exchange about it."""

    offset_ms: float
    """exchange minus host clock when it was measured last"""

    def now(self) -> int:
        """Return exchange time, ms UTC."""

    def told(self, exchange_ms: int, asked_s: float, answered_s: float) -> None:
        """Take the exchange's time, asked and answered at these monotonic seconds."""


class ExchangeClock:
    """Exchange time, ms UTC. Any thread may ask: every value is replaced as a whole. Where two ask
    at once, one may hear a time some ms before the one that it heard last."""

    def __init__(
        self,
        speed: float = 1.0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the host's own time; `speed` is above 1 only against a simulator."""
        self.speed = speed
        self.wall = wall
        self.monotonic = monotonic
        self.anchor = (wall() * 1000.0, monotonic())
        """exchange time, ms, and the monotonic moment at which it was that"""
        self.took_s = math.inf
        """how long the question took by which we go"""
        self.offset_ms = 0.0
        self.latest = 0
        self.spoken = False
        self.doubted: tuple[float, float] | None = None
        """a word far from our time, as the anchor it would be"""

    def begin_at(self, known_ms: int) -> None:
        """Go on from a time that was so once, until the exchange speaks."""
        self.anchor = (float(known_ms), self.monotonic())

    def now(self) -> int:
        estimate = int(self._at(self.anchor, self.monotonic()))
        ahead = 0 <= self.latest - estimate <= MOST_HELD_MS
        self.latest = self.latest if ahead else estimate
        return self.latest

    def told(self, exchange_ms: int, asked_s: float, answered_s: float) -> None:
        """Believe that the exchange wrote its time in the middle between question and answer."""
        took_s = answered_s - asked_s
        if took_s > max(LONG_S, self.took_s) and self._may_be(exchange_ms, asked_s, answered_s):
            return
        middle = (asked_s + answered_s) / 2.0
        told = (float(exchange_ms), middle)
        expected = not self.spoken or self._near(self.anchor, told, FAR_MS)
        agreed = self.doubted is not None and self._near(self.doubted, told, AGREED_MS)
        if not expected and not agreed:
            self.doubted = told
            return
        self.spoken, self.doubted, self.took_s = True, None, took_s
        host_ms = (self.wall() - (self.monotonic() - middle)) * 1000.0
        self.offset_ms = exchange_ms - host_ms
        self.anchor = told

    def _at(self, anchor: tuple[float, float], moment: float) -> float:
        """Return the exchange time at a monotonic moment, as an anchor says."""
        exchange_ms, since = anchor
        return exchange_ms + (moment - since) * 1000.0 * self.speed

    def _near(self, anchor: tuple[float, float], told: tuple[float, float], most_ms: int) -> bool:
        """Return whether two words agree; what an answer takes on its way counts at any speed."""
        exchange_ms, moment = told
        return abs(self._at(anchor, moment) - exchange_ms) <= most_ms * self.speed

    def _may_be(self, exchange_ms: int, asked_s: float, answered_s: float) -> bool:
        """Return whether our time agrees: by it the exchange may have written that between question
        and answer, give or take `LONG_S`."""
        first, last = asked_s - LONG_S, answered_s + LONG_S
        return self._at(self.anchor, first) <= exchange_ms <= self._at(self.anchor, last)
