"""How market time passes: at a pace, or as fast as the market can be played."""

import time
from collections.abc import Callable
from typing import Protocol


class MarketClock(Protocol):
    """Market time, ms UTC; the monotonic clock stays in here."""

    start_ms: int

    def now(self) -> int:
        """Return the market time of this moment."""

    def seconds_until(self, moment_ms: int) -> float:
        """Return how long to sleep until `moment_ms`, seconds."""


class PacedClock:
    """Market time that runs `speed` times as fast as real time, from `start_ms` on."""

    def __init__(self, start_ms: int, speed: float) -> None:
        self.start_ms = start_ms
        self.speed = speed
        self.began = time.monotonic()

    def now(self) -> int:
        return self.start_ms + int((time.monotonic() - self.began) * 1000.0 * self.speed)

    def seconds_until(self, moment_ms: int) -> float:
        return max(0.0, (moment_ms - self.now()) / 1000.0 / self.speed)


class LiveClock:
    """The exchange's time; `speed` is above 1 only against a simulator."""

    def __init__(self, exchange_now: Callable[[], int], speed: float) -> None:
        self.exchange_now = exchange_now
        self.speed = speed
        self.start_ms = exchange_now()

    def now(self) -> int:
        return self.exchange_now()

    def seconds_until(self, moment_ms: int) -> float:
        return max(0.0, (moment_ms - self.now()) / 1000.0 / self.speed)


class VirtualClock:
    """Market time that jumps to whatever comes next."""

    def __init__(self, next_ms: Callable[[], int | None], start_ms: int) -> None:
        self.next_ms = next_ms
        self.start_ms = self.at = start_ms

    def now(self) -> int:
        self.at = max(self.at, self.next_ms() or self.at)
        return self.at

    def seconds_until(self, moment_ms: int) -> float:
        return 0.0
