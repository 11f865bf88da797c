"""An account on a market of candles that lives on its own: paper trading's exchange.

The exchange of profile `bar` together with the clock that drives it. What happens at the end of a
bar is played in small stages, one event at a time, because what the bot does about one event comes
before the next. `dump` is everything between two stages, so that whoever keeps it (its own
database, another process) can go on from there after any crash.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bot.core.codec import decode, encode
from bot.core.errors import InvariantError
from bot.core.kernel.accounting import IDENTITY_TOLERANCE
from bot.core.kernel.params import Params, Spec
from bot.core.market import Row
from bot.core.messages import (
    CancelOrder,
    Cycle,
    Event,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.core.reconcile import Snapshot
from bot.sim.exchange import BarExchange
from bot.sim.ledger import Held
from bot.sim.records import Records

WAIT, INSIDE, FUNDING, CYCLE, OPEN = "wait", "inside", "funding", "cycle", "open"


@dataclass(slots=True)
class Progress:
    """Where the market stands. `open_ms` is the row in hand; -1 before the first."""

    open_ms: int = -1
    stage: str = WAIT
    index: int = 0
    early: list[str] = field(default_factory=list)
    """orders that waited when the bar opened"""
    at_once: list[str] = field(default_factory=list)
    """exits that came inside a bar: they trade at the mark"""


@dataclass(slots=True)
class Stored:
    """The exchange between two stages."""

    progress: Progress
    wallet: float
    held: list[Held]
    marks: list[float]
    opens: list[float]
    orders: list[PlaceOrder]
    left: dict[str, float]
    fills: int


class PaperMarket:
    """A venue (bot/shell/venue.py) on candles. `rows` continue after the row that `stored` had in
    hand, which is `current`."""

    def __init__(
        self,
        params: Params,
        specs: list[Spec],
        deposits: float,
        rows: Iterator[Row],
    ) -> None:
        self.timeframe_ms = params.timeframe_ms
        self.exchange = BarExchange(params, specs, deposits)
        self.rows = rows
        self.current: Row | None = None
        self.following: Row | None = next(rows, None)
        self.progress = Progress()
        self.records = Records(self.exchange.book)

    # What the bot asks for.

    def submit(self, order: PlaceOrder, now: int) -> Event:
        """Take or refuse an order; what it trades comes from `poll`."""
        if order.client_id in self.records.finished:
            return OrderRejected(now, order.client_id, "clientOid already exists")
        answer = self.exchange.submit(order, now)
        if isinstance(answer, OrderRejected):
            self.records.finish(order.client_id, order.symbol, answer.message)
        elif order.role is Role.EXIT and self.progress.stage == WAIT:
            self.progress.at_once.append(order.client_id)
        return answer

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        """Cancel an order; None when it is not there any more."""
        answer = self.exchange.cancel(wish.client_id, now)
        if answer is not None:
            self.records.keep(answer)
        return answer

    def poll(self, until_ms: int) -> Event | None:
        """Return the next thing that happens up to `until_ms`, None when there is nothing."""
        while True:
            event = self.play(until_ms)
            if event is not None:
                self.records.keep(event)
                return event
            if self.progress.stage == WAIT and not self.begin_row(until_ms):
                return None

    def next_ms(self) -> int | None:
        """Return when the bar that is open now ends; None when the market is over."""
        return None if self.following is None else self.following.open_ms + self.timeframe_ms

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        """Return a read of the account."""
        return self.records.read(self.exchange.ledger, asked, since_ms, now)

    def check_equity(self, ours: float) -> None:
        """Compare the bot's equity with the wallet; raise InvariantError when they differ."""
        theirs = self.exchange.ledger.equity()
        if abs(ours - theirs) > IDENTITY_TOLERANCE * max(1.0, abs(ours) / 1e4):
            raise InvariantError(f"equity {ours!r} differs from the exchange's {theirs!r}")

    # The market's own life.

    def play(self, until_ms: int) -> Event | None:
        """Go on to the next event of the stage in hand, and from stage to stage; None at a rest."""
        p, row = self.progress, self.current
        if p.stage == WAIT:
            return self.trade_at_once(until_ms)
        assert row is not None
        now = row.open_ms + self.timeframe_ms
        if p.stage == INSIDE:
            while p.index < len(row.bars):
                k, p.index = p.index, p.index + 1
                bar = row.bars[k]
                if bar is not None and (event := self.exchange.end_symbol(k, bar, now)):
                    return event
            p.stage, p.index = FUNDING, 0
        if p.stage == FUNDING:
            while p.index < len(row.funding):
                settlement, p.index = row.funding[p.index], p.index + 1
                if event := self.exchange.settle(*settlement, now):
                    return event
            p.stage = CYCLE
        if p.stage == CYCLE:
            # What is held while the next bar is unknown can only wait.
            self.exchange.begin_bar(self.following)
            p.stage, p.early, p.index = OPEN, [], 0
            return Cycle(now, now, row.bars)
        return self.play_open(now)

    def play_open(self, now: int) -> Event | None:
        """Trade what waits at the open, one event at a time; then rest."""
        p = self.progress
        if p.index >= 0:  # the first thing at this open
            waiting = self.exchange.book.waiting(Role.EXIT, Role.ENTRY)
            p.early, p.index = [order.client_id for order in waiting], -1
        if event := self.exchange.next_at_open(p.early, now):
            return event
        p.stage, p.early, p.index = WAIT, [], 0
        return None

    def trade_at_once(self, until_ms: int) -> Event | None:
        """Trade exits that came inside a bar, at the mark; not later than the bar ends."""
        now = min(until_ms, self.next_ms() or until_ms)
        while self.progress.at_once:
            order = self.exchange.book.orders.get(self.progress.at_once.pop(0))
            if order is not None:
                return self.exchange.fill_at(order, self.exchange.ledger.marks[order.symbol], now)
        return None

    def catch_up(self, until_ms: int, decided_ms: int) -> None:
        """Play what the bot missed: all bars that are due but the last.

        The newest cycle is offered again when the bot did not get to decide it.
        """
        while (due := self.next_ms()) is not None and due <= until_ms:
            while (event := self.play(until_ms)) is not None:
                self.records.keep(event)
            self.begin_row(until_ms)
        if self.progress.stage == OPEN and self.ended_ms() > decided_ms:
            self.progress.stage = CYCLE

    def decides_ms(self) -> int | None:
        """Return the time of the cycle that `poll` will offer next."""
        if self.progress.stage in (INSIDE, FUNDING, CYCLE):
            return self.ended_ms()
        return self.next_ms()

    def trade_now(self, order: PlaceOrder, now: int) -> Event:
        """Trade an exit at once, at the mark, wherever the market stands; for emergencies."""
        answer = self.exchange.submit(order, now)
        if isinstance(answer, OrderRejected):
            return answer
        event = self.exchange.fill_at(order, self.exchange.ledger.marks[order.symbol], now)
        self.records.keep(event)
        return event

    def begin_row(self, until_ms: int) -> bool:
        """Take the next row in hand; return False when none is due."""
        due = self.next_ms()
        if due is None or due > until_ms or self.following is None:
            return False
        self.current, self.following = self.following, next(self.rows, None)
        self.progress.open_ms = self.current.open_ms
        self.progress.stage, self.progress.index = INSIDE, 0
        return True

    def ended_ms(self) -> int:
        """Return when the row in hand ended."""
        return self.progress.open_ms + self.timeframe_ms

    def close_market(self) -> None:
        """The market has ended: what waits to leave leaves at the last marks."""
        waiting = self.exchange.book.waiting(Role.EXIT)
        self.progress.at_once = [order.client_id for order in waiting]

    # Memory.

    def dump(self) -> object:
        """Return everything but records and finished orders, as plain JSON-able data."""
        ledger, book = self.exchange.ledger, self.exchange.book
        return encode(
            Stored(
                self.progress,
                ledger.wallet,
                ledger.held,
                ledger.marks,
                self.exchange.opens,
                list(book.orders.values()),
                book.left,
                self.exchange.fills,
            )
        )

    def restore(self, data: object, current: Row | None) -> None:
        """Go on from `dump`; `current` is the row that was in hand, and `rows` come after it."""
        stored = decode(Stored, data)
        ledger, book = self.exchange.ledger, self.exchange.book
        self.progress, self.current = stored.progress, current
        ledger.wallet, ledger.held, ledger.marks = stored.wallet, stored.held, stored.marks
        book.orders = {order.client_id: order for order in stored.orders}
        book.left = stored.left
        self.exchange.opens, self.exchange.fills = stored.opens, stored.fills
