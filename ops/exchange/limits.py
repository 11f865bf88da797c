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
    """What has been used of a pool since `start_ms`."""

    start_ms: int
    used: int = 0


class Meter:
    """Counts what may happen only so often within a window, which begins with the first time."""

    def __init__(self, most: int, window_ms: int) -> None:
        self.most, self.window_ms = most, window_ms
        self.window = Window(0)

    def take(self, now: int) -> bool:
        """Count one more; return whether it is within the limit."""
        if not self.window.start_ms <= now < self.window.start_ms + self.window_ms:
            self.window = Window(now)
        self.window.used += 1
        return self.window.used <= self.most

    def clear(self) -> None:
        """Begin as if nothing had happened."""
        self.window = Window(0)


class Limits:
    """The pools of one account."""

    def __init__(self) -> None:
        self.windows: dict[Pool, Window] = {}

    def window(self, pool: Pool, now: int) -> Window:
        """Return the window of a pool at `now`, a new one when the old one is over."""
        window = self.windows.get(pool)
        if window is None or not window.start_ms <= now < window.start_ms + WINDOW_MS:
            window = self.windows[pool] = Window(now)
        return window

    def charge(self, pool: Pool, weight: int, now: int) -> None:
        """Pay for a call; raise RefusedError when there is not enough left."""
        window = self.window(pool, now)
        if window.used + weight > pool.size:
            window.used = pool.size
            raise RefusedError("429000", "Too many requests in a short period of time", 429)
        window.used += weight

    def headers(self, pool: Pool, now: int) -> dict[str, str]:
        """Return what each reply says of its pool."""
        window = self.window(pool, now)
        return {
            "gw-ratelimit-limit": str(pool.size),
            "gw-ratelimit-remaining": str(pool.size - window.used),
            "gw-ratelimit-reset": str(window.start_ms + WINDOW_MS - now),
        }
