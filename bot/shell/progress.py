"""Progress deadlines: what must happen again and again for the watchdog to be fed.

A loop that merely turns is not progress, and an exchange that cannot be reached is not a hang:
while an outage is declared, nothing that needs the exchange is asked for.
"""

from collections.abc import Mapping

NEEDS_EXCHANGE = ("cycle", "data", "account", "protection")


class Progress:
    """Named deadlines in seconds on the monotonic clock, which the caller reads."""

    def __init__(self, limits: Mapping[str, float], now: float) -> None:
        self.limits = dict(limits)
        self.last = dict.fromkeys(limits, now)
        self._outage = False

    @property
    def outage(self) -> bool:
        """Whether the exchange is known to be out of reach."""
        return self._outage

    def declare_outage(self, active: bool, now: float) -> None:
        """Begin or end an outage; when it ends, the clocks that stood still start anew."""
        if self._outage and not active:
            for name in NEEDS_EXCHANGE:
                self.met(name, now)
        self._outage = active

    def met(self, name: str, now: float) -> None:
        """Note that `name` made progress."""
        if name in self.last:
            self.last[name] = now

    def overdue(self, now: float) -> list[str]:
        """Return what has not made progress in time, in words; empty when all is well."""
        return [
            f"{name}: {now - self.last[name]:.1f} s ago, expected {limit:g} s"
            for name, limit in self.limits.items()
            if now - self.last[name] > limit and not (self._outage and name in NEEDS_EXCHANGE)
        ]
