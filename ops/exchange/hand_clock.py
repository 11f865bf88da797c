"""A bot's clock that a test or a benchmark moves, together with a stepped simulator."""

from bot.adapters.exchange_clock import ExchangeClock


class HandClock(ExchangeClock):
    """Exchange time as far as somebody moves it, and what the exchange says of itself on top."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = self.begin_ms = now_ms
        super().__init__(1.0, lambda: self.now_ms / 1000.0, self.seconds)

    def told(self, exchange_ms: int, asked_s: float, answered_s: float) -> None:
        super().told(exchange_ms, self.seconds(), self.seconds())

    def seconds(self) -> float:
        """Return the time since the beginning, for what asks for a monotonic clock."""
        return (self.now_ms - self.begin_ms) / 1000.0
