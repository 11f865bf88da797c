"""Market time: it runs at a pace, or it stands still until somebody moves it."""

from bot.shell.clocks import PacedClock


class SteppedClock:
    """Market time, ms UTC, that only `move` changes."""

    def __init__(self, start_ms: int) -> None:
        self.at = start_ms

    def now(self) -> int:
        return self.at

    def move(self, to_ms: int) -> None:
        """Let time be `to_ms`; it never runs backwards."""
        self.at = max(self.at, to_ms)


type Clock = PacedClock | SteppedClock


def make_clock(start_ms: int, speed: float | None) -> Clock:
    """Return a clock that starts at `start_ms`; without a speed it is moved by hand."""
    return SteppedClock(start_ms) if speed is None else PacedClock(start_ms, speed)
