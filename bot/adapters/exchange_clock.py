"""The exchange's time, made of our monotonic clock and of what the exchange says the time is.

A step of the host's clock changes nothing here. Time stands still rather than run backwards for the
small corrections of every measurement; a large one is believed, because the exchange refuses what
is signed with a wrong time.
"""

import time
from collections.abc import Callable
from typing import Protocol

MOST_HELD_MS = 1_000  # time stands still for at most this long


class Clock(Protocol):
    """What the adapter needs of a clock: exchange time, and a word of the exchange about it."""

    offset_ms: float
    """exchange minus host clock when it was measured last"""

    def now(self) -> int:
        """Return exchange time, ms UTC."""

    def told(self, exchange_ms: int, asked_s: float, answered_s: float) -> None:
        """Take the exchange's time, asked and answered at these monotonic seconds."""


class ExchangeClock:
    """Exchange time, ms UTC. Thread-safe: every value is replaced as a whole."""

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
        self.offset_ms = 0.0
        self.latest = 0

    def now(self) -> int:
        exchange_ms, moment = self.anchor
        estimate = int(exchange_ms + (self.monotonic() - moment) * 1000.0 * self.speed)
        ahead = 0 <= self.latest - estimate <= MOST_HELD_MS
        self.latest = self.latest if ahead else estimate
        return self.latest

    def told(self, exchange_ms: int, asked_s: float, answered_s: float) -> None:
        """Believe that the exchange wrote its time in the middle between question and answer."""
        middle = (asked_s + answered_s) / 2.0
        host_ms = (self.wall() - (self.monotonic() - middle)) * 1000.0
        self.offset_ms = exchange_ms - host_ms
        self.anchor = (float(exchange_ms), middle)
