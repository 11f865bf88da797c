"""A venue (bot/shell/venue.py) with latency, partial fills and a mark series: profile `tick`.

The simulated exchange on quotes together with the bars they are made of: it offers a Cycle at each
bar's end, as the live shell does. Answers come from `poll`, never at once.
"""

from collections.abc import Iterator

from bot.core.errors import InvariantError
from bot.core.market import Row
from bot.core.messages import CancelOrder, Cycle, Event, OrderRejected, PlaceOrder
from bot.core.reconcile import Snapshot
from bot.sim.tick_exchange import TickExchange
from bot.sim.ticks import QuotePath

EQUITY_TOLERANCE = 0.001  # share of equity (DESIGN section 3)


class TickMarket:
    """One account on the bars of `rows`; times are int64 ms UTC."""

    def __init__(self, exchange: TickExchange, rows: Iterator[Row], timeframe_ms: int) -> None:
        self.exchange = exchange
        self.records = exchange.records
        self.timeframe_ms = timeframe_ms
        self.path = QuotePath(exchange.specs, timeframe_ms)
        self.rows = rows
        self.current: Row | None = None
        self.begin_row()

    def submit(self, order: PlaceOrder, now: int) -> Event | None:
        """Send an order; a client id that was used before is refused."""
        known = self.records.finished, self.exchange.transit
        if any(order.client_id in names for names in known):
            return OrderRejected(now, order.client_id, "clientOid already exists")
        self.exchange.submit(order, max(now, self.exchange.now_ms))
        return None

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        """Ask for a cancellation."""
        self.exchange.cancel(wish.client_id, max(now, self.exchange.now_ms))
        return None

    def poll(self, until_ms: int) -> Event | None:
        """Return the next thing that happens up to `until_ms`, None when there is nothing."""
        while self.current is not None:
            row, end = self.current, self.current.open_ms + self.timeframe_ms
            event = next(self.exchange.advance(min(until_ms, end)), None)
            if event is not None:
                return event
            if until_ms < end:
                return None
            self.begin_row()
            return Cycle(end, end, row.bars)
        return next(self.exchange.advance(until_ms), None)

    def begin_row(self) -> None:
        """Take the next bar in hand: its quotes are what happens from now on."""
        self.current = next(self.rows, None)
        if self.current is not None:
            self.exchange.load(self.path.quotes(self.current), self.current.funding)

    def next_ms(self) -> int | None:
        """Return when the bar in hand ends; None when the market is over."""
        return None if self.current is None else self.current.open_ms + self.timeframe_ms

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        """Return a read of the account. Orders on their way cannot be asked for yet."""
        arrived = tuple(name for name in asked if name not in self.exchange.transit)
        return self.records.read(self.exchange.ledger, arrived, since_ms, now)

    def check_equity(self, ours: float) -> None:
        """Compare the bot's equity at a bar's end with ours at the last prices, as a bot on a real
        exchange does; raise InvariantError when they differ by more than 0.1 %."""
        theirs = self.exchange.ledger.equity_at(self.exchange.last)
        if abs(ours - theirs) > EQUITY_TOLERANCE * max(1.0, abs(theirs)):
            raise InvariantError(f"equity {ours!r} differs from the exchange's {theirs!r}")
