"""Progress deadlines: what must happen again and again for the watchdog to be fed.

A loop that merely turns is not progress, and an exchange that cannot be reached is not a hang:
while an outage is declared, nothing that needs the exchange is asked for.
"""

from collections.abc import Mapping

from bot.shell.config import Config

NEEDS_EXCHANGE = ("cycle", "data", "account", "protection")
MARGIN_S = 10.0
ACCOUNT_MARGIN_S = 20.0  # a read of a real exchange may take 15 s, with its tries
DATA_BARS = 2  # a market may skip a bar; the next one, or the question for its prices, tells


def deadlines(config: Config, speed: float, *, lined: bool) -> dict[str, float]:
    """Return what a bot must get done again and again, and within how many seconds.

    cycle : a bar is decided, with or without data
    data : bars come, or the exchange answers questions about them
    account : the account is read
    protection : no position is without its stop
    journal : what was taken in has been offered to the disk; that it refused is no hang

    Parameters
    ----------
    speed : market seconds per second
    lined : the market is beyond a line that may fail; else its cycles are its data
    """
    timing, bar_s = config.timing, config.timeframe_ms / 1000.0 / speed
    limits = {
        "cycle": bar_s + timing.bar_wait_s + MARGIN_S,
        "account": timing.snapshot_s + ACCOUNT_MARGIN_S,
        "protection": timing.uncovered_close_s + MARGIN_S,
        "journal": MARGIN_S,
    }
    if lined:
        limits["data"] = DATA_BARS * bar_s + timing.bar_wait_s + MARGIN_S
    return limits


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

    def restart(self, now: float) -> None:
        """Let every deadline begin anew: the bot has just become ready."""
        self.last = dict.fromkeys(self.limits, now)

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
