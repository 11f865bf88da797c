"""Runs `core.step` against the simulated exchange in profile `tick`, in virtual time."""

from collections.abc import Callable, Iterable

from bot.core.kernel.codes import FLAT, FLATTEN
from bot.core.market import Bar, Row
from bot.core.messages import (
    CancelOrder,
    Cycle,
    Effect,
    Event,
    Finish,
    Notice,
    OrderRejected,
    PlaceOrder,
    Role,
    Tick,
    TradeClosed,
)
from bot.core.state import State
from bot.core.step import step
from bot.sim.tick_exchange import TickExchange
from bot.sim.ticks import Quote, QuotePath
from tests.support.worlds import Market

SECOND = 1_000


class TickDriver:
    """One state on one exchange. A Cycle comes at each bar end, and a Tick at each second in which
    something waits: an order for its answer, a position for its stop, or in FLATTEN for its exit.
    """

    def __init__(
        self,
        state: State,
        exchange: TickExchange,
        *,
        refuse: Callable[[PlaceOrder], bool] = lambda order: False,
        watch: Callable[[Event, list[Effect]], None] = lambda event, effects: None,
    ) -> None:
        """Prepare a run. What `refuse` picks is rejected a second later and never gets to the
        exchange; `watch` sees every event with its effects, after they are carried out."""
        self.state = state
        self.exchange = exchange
        self.path = QuotePath(exchange.specs, state.world.params.timeframe_ms)
        self.refuse = refuse
        self.watch = watch
        self.refused: list[str] = []
        self.notices: list[Notice] = []
        self.trades = 0
        self.events = 0
        self.now_ms = state.now_ms
        self.quiet = True

    def feed(self, event: Event) -> None:
        """Take one event and carry out its effects."""
        effects = step(self.state, event)
        self.events += 1
        for effect in effects:
            if isinstance(effect, PlaceOrder):
                if self.refuse(effect):
                    self.refused.append(effect.client_id)
                else:
                    self.exchange.submit(effect, self.state.now_ms)
            elif isinstance(effect, CancelOrder):
                self.exchange.cancel(effect.client_id, self.state.now_ms)
            elif isinstance(effect, TradeClosed):
                self.trades += 1
            else:
                self.notices.append(effect)
        self.quiet = not self.waits()
        self.watch(event, effects)

    def waits(self) -> bool:
        """Return whether an order waits for its answer, or a position for its stop or its exit."""
        state = self.state
        if any(not order.rests for order in state.orders.values()):
            return True
        flatten = state.modes.mode == FLATTEN
        return any(
            pos.side != FLAT and (flatten or state.covered(k) < pos.contracts)
            for k, pos in enumerate(state.world.positions)
        )

    def settled(self) -> bool:
        """Return whether nothing is under way: no entry, no exit, nothing to wait for."""
        busy = (Role.ENTRY, Role.EXIT)
        return self.quiet and not any(o.role in busy for o in self.state.orders.values())

    def pass_to(self, to_ms: int) -> None:
        """Let time pass up to and including `to_ms`: second by second, but for quiet stretches."""
        while self.now_ms < to_ms:
            from_ms = self.now_ms
            if self.quiet:
                from_ms = max(from_ms, self.exchange.next_ms(to_ms) - 1)
            self.now_ms = min((from_ms // SECOND + 1) * SECOND, to_ms)
            for event in self.exchange.advance(self.now_ms):
                self.feed(event)
            while self.refused:
                self.feed(OrderRejected(self.now_ms, self.refused.pop(0), "refused by the test"))
            if not self.quiet:
                self.feed(Tick(self.now_ms))

    def run_bar(self, row: Row, events: Iterable[Event] = ()) -> None:
        """Play one bar and decide at its end; `events` from outside come in the order of time."""
        end = row.open_ms + self.state.world.params.timeframe_ms
        self.now_ms = max(self.now_ms, row.open_ms)
        self.exchange.load(self.path.quotes(row), row.funding)
        for event in events:
            self.pass_to(event.now_ms)
            self.feed(event)
        self.pass_to(end)
        self.feed(Cycle(end, end, row.bars))

    def drain(self, seconds: int = 60) -> None:
        """Let a market that stands still go on until all is answered; at most `seconds`."""
        end = self.now_ms + seconds * SECOND
        while not self.settled() and self.now_ms < end:
            standing = zip(self.exchange.last, self.exchange.ledger.marks, strict=True)
            self.exchange.load(
                Quote(self.now_ms + SECOND, k, last, mark)
                for k, (last, mark) in enumerate(standing)
                if last > 0.0
            )
            self.pass_to(self.now_ms + SECOND)

    def finish(self) -> None:
        """Close everything because the market has ended."""
        self.feed(Finish(self.now_ms))


def rows_of(market: Market) -> list[Row]:
    """Return the bars of a test market, time by time."""
    begin = min(candles[0].time for candles in market.candles)
    end = max(candles[-1].time for candles in market.candles)
    length = market.timeframe_ms
    by_time = [{candle.time: candle for candle in candles} for candles in market.candles]
    rows = []
    for open_ms in range(begin, end + 1, length):
        found = [bars.get(open_ms) for bars in by_time]
        funding = tuple(
            (k, ms, rate)
            for k, settled in enumerate(market.funding)
            for ms, rate in settled
            if open_ms < ms <= open_ms + length
        )
        bars = tuple(None if c is None else Bar(*c[1:], 1.0) for c in found)
        rows.append(Row(open_ms, bars, funding))
    return rows
