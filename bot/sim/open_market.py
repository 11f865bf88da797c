"""The simulated account on a market that is still open: its bars come from outside, one by one.

What is assumed, because closed bars and single prices are all that is known:

- Stops, targets and liquidation are judged when a bar has closed, by its open, high and low, as in
  every paper market; the seconds of a bar before an entry traded count as well.
- Orders that trade at once trade in full at the first price told after them, spread, slippage and
  latency added by the kernel: an entry outside its limit expires, an exit waits for a price.
- A position that is held at a full hour pays the funding that was settled at that hour, if any, at
  the close of the bar; the rate is told later, and then paid, also when the position is gone.
- A bar that comes late is played when it comes. A bar that never comes did not trade.
"""

from dataclasses import dataclass, field

from bot.core.codec import decode, encode
from bot.core.kernel.accounting import funding_payment
from bot.core.kernel.params import Params, Spec
from bot.core.market import HOUR_MS, MINUTE_MS, Bar
from bot.core.messages import (
    Event,
    FundingSettled,
    OrderCancelled,
    PlaceOrder,
    Role,
)
from bot.core.reconcile import Snapshot
from bot.sim.paper_market import PaperMarket

RATE_LAG_MS = 5 * MINUTE_MS
"""a rate that is not told so long after an hour does not exist: nothing was settled then"""
MOST_OWED = 10_000


@dataclass(slots=True)
class Owed:
    """A position at a full hour. If funding was settled then, it takes part."""

    symbol: int
    hour_ms: int
    side: int
    contracts: float
    mark: float


@dataclass(slots=True)
class Past:
    """What is remembered besides the account."""

    seen: list[int]
    owed: list[Owed] = field(default_factory=list)


class OpenMarket(PaperMarket):
    """The account. `begin`, `quote` and `rates` tell it of the market, `poll` what comes of it."""

    def __init__(self, params: Params, specs: list[Spec], deposits: float, founded_ms: int) -> None:
        super().__init__(params, specs, deposits, iter(()))
        self.past = Past([founded_ms for _ in specs])
        """by symbol, the end of the newest bar that was played; and the funding not paid yet"""
        self.bars: tuple[Bar | None, ...] = ()
        """the bars that are being played, which end at `ends_ms`; `index` is the next of them"""
        self.ends_ms = self.index = 0
        self.quotes: dict[int, float] = {}
        """prices for the orders that wait; 0 is none to be had"""
        self.told_rates: dict[tuple[int, int], float] = {}
        """(symbol, hour) -> rate"""
        self.told_ms = founded_ms
        """the account was read, or something was told, then: nothing is told of before any more"""

    # What the bot asks for.

    def submit(self, order: PlaceOrder, now: int) -> Event:
        """Take or refuse an order. Entries and exits wait for a price."""
        answer = super().submit(order, now)
        self.progress.at_once.clear()
        return answer

    def poll(self, until_ms: int) -> Event | None:
        """Return the next thing that follows from what the account was told of the market."""
        event = self._inside() or self._pay() or self._trade(until_ms)
        if event is not None:
            self.records.keep(event)
            self.told_ms = max(self.told_ms, event.now_ms)
        return event

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        self.told_ms = max(self.told_ms, now)
        return super().snapshot(asked, since_ms, now)

    # What it is told of the market.

    def begin(self, ends_ms: int, bars: tuple[Bar | None, ...]) -> None:
        """Take the bars that end at `ends_ms`; those that were played already are left out."""
        self.ends_ms, self.bars, self.index = ends_ms, bars, 0
        self.progress.open_ms = max(self.progress.open_ms, ends_ms - self.timeframe_ms)

    def held(self) -> list[int]:
        """Return the symbols on which there is a position."""
        return [k for k, held in enumerate(self.exchange.ledger.held) if held.side != 0]

    def played_ms(self, now: int) -> int:
        """Return up to when every bar of what is held was played; `now` when nothing is held."""
        return min((self.past.seen[k] for k in self.held()), default=now)

    def passed(self, k: int, ends_ms: int) -> None:
        """Note that the bars of symbol `k` up to `ends_ms` were played, or did not trade, and the
        full hours since then at which it was held."""
        ledger, owed = self.exchange.ledger, self.past.owed
        before, self.past.seen[k] = self.past.seen[k], max(ends_ms, self.past.seen[k])
        held = ledger.held[k]
        for hour_ms in range((before // HOUR_MS + 1) * HOUR_MS, ends_ms + 1, HOUR_MS):
            if ledger.owes_funding(k, hour_ms):
                owed.append(Owed(k, hour_ms, held.side, held.contracts, ledger.marks[k]))
        del owed[:-MOST_OWED]

    def waiting(self) -> set[int]:
        """Return the symbols on which an order waits for a price."""
        return {order.symbol for order in self.exchange.book.waiting(Role.EXIT, Role.ENTRY)}

    def quote(self, k: int, price: float) -> None:
        """Take the price at which what waits on symbol `k` trades; 0 when there is none."""
        self.quotes[k] = price

    def rates(self, k: int, found: list[tuple[int, float]], asked_ms: int) -> None:
        """Take the funding of symbol `k` that was settled up to `asked_ms`: (time, rate)."""
        for settled_ms, rate in found:
            self.told_rates[k, (settled_ms + MINUTE_MS) // HOUR_MS * HOUR_MS] = rate
        self.past.owed = [
            owed
            for owed in self.past.owed
            if owed.symbol != k
            or (k, owed.hour_ms) in self.told_rates
            or asked_ms - owed.hour_ms < RATE_LAG_MS
        ]

    # What comes of it.

    def _inside(self) -> Event | None:
        """Play the bars in hand up to the next thing that happens."""
        while self.index < len(self.bars):
            k, self.index = self.index, self.index + 1
            bar = self.bars[k]
            if bar is None or self.ends_ms <= self.past.seen[k]:
                continue
            event = self.exchange.end_symbol(k, bar, max(self.ends_ms, self.told_ms))
            self.passed(k, self.ends_ms)
            if event is not None:
                return event
        self.bars = ()
        return None

    def _pay(self) -> Event | None:
        """Pay the next funding whose rate is told."""
        if not self.told_rates:
            return None
        for owed in self.past.owed:
            k, rate = owed.symbol, self.told_rates.get((owed.symbol, owed.hour_ms))
            if rate is None:
                continue
            self.past.owed.remove(owed)
            spec = self.exchange.specs[k]
            amount = funding_payment(owed.side, owed.contracts, owed.mark, rate, spec)
            self.exchange.ledger.wallet += amount
            at_ms = max(owed.hour_ms, self.told_ms)
            return FundingSettled(at_ms, k, amount, f"funding-{k}-{owed.hour_ms}")
        self.told_rates.clear()
        return None

    def _trade(self, now: int) -> Event | None:
        """Trade the next order that a price was told for: exits, then entries."""
        if not self.quotes:
            return None
        exchange, book = self.exchange, self.exchange.book
        for order in book.waiting(Role.EXIT):
            price = self.quotes.get(order.symbol, 0.0)
            if exchange.ledger.held[order.symbol].side != -order.side:  # closed by its stop
                book.remove(order.client_id)
                return OrderCancelled(now, order.client_id)
            if price > 0.0:
                return exchange.fill_at(order, price, now)
        for order in book.waiting(Role.ENTRY):
            if order.symbol in self.quotes:
                exchange.opens[order.symbol] = self.quotes[order.symbol]
                if (event := exchange.try_entry(order, now)) is not None:
                    return event
        self.quotes.clear()
        return None

    # Memory.

    def dump_past(self) -> object:
        """Return what `dump` does not hold, as plain JSON-able data."""
        return encode(self.past)

    def restore_past(self, data: object, told_ms: int) -> None:
        """Go on from `dump_past`; whoever reads the account has read it up to `told_ms`."""
        self.past = decode(Past, data)
        self.told_ms = max(told_ms, self.ended_ms())
