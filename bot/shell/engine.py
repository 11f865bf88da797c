"""The engine: feeds events to `core.step` and carries out the effects, in the order the core
demands.

This is the paper engine over the simulated exchange in profile `bar`; drivers decide how fast time
goes.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bot.core.errors import InvariantError
from bot.core.kernel.accounting import IDENTITY_TOLERANCE, mark_equity
from bot.core.kernel.records import Trade
from bot.core.market import DAY_MS, Row
from bot.core.messages import (
    CancelOrder,
    Cycle,
    Effect,
    Event,
    Finish,
    Notice,
    PlaceOrder,
    TradeClosed,
)
from bot.core.state import State
from bot.core.step import step
from bot.sim.exchange import BarExchange


@dataclass(slots=True)
class Record:
    """What a run leaves behind for its summary."""

    trades: list[Trade] = field(default_factory=list)
    daily: list[tuple[int, float]] = field(default_factory=list)
    """(00:00 UTC, equity)"""
    bars: int = 0
    events: int = 0


class Engine:
    """One account on one simulated exchange. Not thread-safe: one caller feeds it."""

    def __init__(
        self,
        state: State,
        exchange: BarExchange,
        listener: Callable[[Event, list[Effect]], None] | None = None,
    ) -> None:
        self.state = state
        self.exchange = exchange
        self.listener = listener
        self.record = Record()

    def feed(self, event: Event) -> None:
        """Take one event, then everything that follows from it without time passing."""
        queue = deque([event])
        while queue:
            current = queue.popleft()
            effects = step(self.state, current)
            self.record.events += 1
            # The journal's commit belongs here: after step, before anything is carried out.
            if self.listener is not None:
                self.listener(current, effects)
            for effect in effects:
                answer = self.carry_out(effect)
                if answer is not None:
                    queue.append(answer)

    def carry_out(self, effect: Effect) -> Event | None:
        """Do what the core asks; return the exchange's immediate answer."""
        if isinstance(effect, PlaceOrder):
            return self.exchange.submit(effect, self.state.now_ms)
        if isinstance(effect, CancelOrder):
            return self.exchange.cancel(effect.client_id, self.state.now_ms)
        if isinstance(effect, TradeClosed):
            self.record.trades.append(effect.trade)
            return None
        if isinstance(effect, Notice):
            return None
        raise InvariantError(f"unknown effect {effect!r}")

    def feed_all(self, events: Iterable[Event]) -> None:
        """Feed events as they arise; each one's consequences come before the next is asked for."""
        for event in events:
            self.feed(event)

    def run_bar(self, row: Row, following: Row | None) -> None:
        """Play one bar: its inside, the decision at its end, and the fills at the open that
        follows."""
        now = row.open_ms + self.state.world.params.timeframe_ms
        self.feed_all(self.exchange.end_bar(row, now))
        # What is held while the next bar is unknown can only wait.
        self.exchange.begin_bar(following)
        self.feed(Cycle(now, now, row.bars))
        self.check_against_exchange()
        equity = self.state.world.account.equity
        self.record.bars += sum(bar is not None for bar in row.bars)
        if now % DAY_MS == 0:
            self.record.daily.append((now, equity))
        self.feed_all(self.exchange.trade_at_open(now))

    def finish(self) -> None:
        """End the run: close what is open at the last marks."""
        now = self.state.now_ms
        self.feed(Finish(now))
        self.feed_all(self.exchange.trade_at_last(now))
        mark_equity(self.state.world)
        self.state.check_invariants()
        self.check_against_exchange()

    def check_against_exchange(self) -> None:
        """Compare our equity with the exchange's wallet; raise InvariantError when they differ."""
        ours = self.state.world.account.equity
        theirs = self.exchange.ledger.equity()
        if abs(ours - theirs) > IDENTITY_TOLERANCE * max(1.0, abs(ours) / 1e4):
            raise InvariantError(f"equity {ours!r} differs from the exchange's {theirs!r}")
