"""Rate limits in market time.

Calls are paid from pools of weight that are filled anew 30 s after their first call; what sockets
may do is counted the same way, in windows of their own.
"""

from dataclasses import dataclass
from enum import Enum

from ops.exchange.refusal import RefusedError

WINDOW_MS = 30_000


class Pool(Enum):
    """What a call is paid from; the value is its size at the base level (API reference 7)."""

    FUTURES = ("futures", 2_000)
    MANAGEMENT = ("management", 2_000)
    SPOT = ("spot", 4_000)
    PUBLIC = ("public", 2_000)

    @property
    def size(self) -> int:
        return self.value[1]


@dataclass(slots=True)
class Window:
    """What has been used since `start_ms`; it begins anew with the first use after its length."""

    length_ms: int
    start_ms: int = 0
    used: int = 0

    def at(self, now: int) -> "Window":
        """Return it as it is at `now`."""
        if not self.start_ms <= now < self.start_ms + self.length_ms:
            self.start_ms, self.used = now, 0
        return self


class Meter:
    """Counts what may happen only so often within a window."""

    def __init__(self, most: int, length_ms: int) -> None:
        self.most = most
        self.window = Window(length_ms)

    def take(self, now: int) -> bool:
        """Count one more; return whether it is within the limit."""
        window = self.window.at(now)
        window.used += 1
        return window.used <= self.most

    def clear(self) -> None:
        """Begin as if nothing had happened."""
        self.window = Window(self.window.length_ms)


class Limits:
    """The pools of one account."""

    def __init__(self) -> None:
        self.windows = {pool: Window(WINDOW_MS) for pool in Pool}

    def charge(self, pool: Pool, weight: int, now: int) -> None:
        """Pay for a call; raise RefusedError when there is not enough left."""
        window = self.windows[pool].at(now)
        if window.used + weight > pool.size:
            window.used = pool.size
            raise RefusedError("429000", "Too many requests in a short period of time", 429)
        window.used += weight

    def headers(self, pool: Pool, now: int) -> dict[str, str]:
        """Return what each reply says of its pool."""
        window = self.windows[pool].at(now)
        return {
            "gw-ratelimit-limit": str(pool.size),
            "gw-ratelimit-remaining": str(pool.size - window.used),
            "gw-ratelimit-reset": str(window.start_ms + WINDOW_MS - now),
        }
