"""Profile `tick` with every kind of order that people send beside the bot's own four.

Rules of this file:
- An order without a limit reaches `MARKET_BAND` from the mark at most; so does KuCoin's.
- The account is in one-way mode: an order that is not reduce-only closes what is held on the other
  side, in the same trade opens a position with the rest ("flip"), and needs margin for the rest
  alone. The reduce-only orders of the old position go with it.
- A limit order may rest: it fills at its own price once the market has traded a tick through it,
  as targets do, and what it needs as margin is not there for others. When a position that it would
  have closed has gone meanwhile, its margin may be missing: then it is cancelled.
- Conditional orders wait apart from the book. When their price is reached they are looked at as if
  they arrived, and may be refused then. (The bot's stops are in the book, as role STOP.)
- One that watches is told at once, before the events that follow from it are handed out.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

from bot.core.kernel.codes import MAKER, STOP, TARGET
from bot.core.kernel.levels import bar_exit
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import entry_fills, market_price, round_down, round_up
from bot.core.messages import (
    Event,
    Liquidated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.core.observations import Takeover
from bot.sim.book import NO_MARGIN
from bot.sim.ledger import Closable
from bot.sim.tick_exchange import Cancellation, TickExchange
from bot.sim.ticks import Quote

MARKET_BAND = 0.05  # of the mark price
ENDED = "the contract is not available for trading (200003)"


class Trigger(NamedTuple):
    """What a conditional order waits for: a price that reaches `price` from below or above."""

    up: bool
    price: float
    on_mark: bool
    """else the last price decides"""


class Terms(NamedTuple):
    """What an order asks for beyond its role.

    Role ENTRY without a price is a market order, TARGET is any reduce-only limit order.
    """

    rests: bool = False
    """what is not filled at once waits at its price; else it is cancelled"""
    post_only: bool = False
    """it is cancelled rather than take"""
    trigger: Trigger | None = None
    closes: bool = False
    """it closes the position as large as it is when the condition comes true"""


class Watcher(Protocol):
    """One who is told what is no event of an order."""

    def quoted(self, quote: Quote) -> None:
        """Learn of a price and that everything it meets has traded."""

    def triggered(self, client_id: str, now: int) -> None:
        """Learn that the price of a stop or a conditional order was reached and the market takes
        it."""


class FullExchange(TickExchange):
    """A TickExchange that also takes orders with terms."""

    def __init__(
        self,
        params: Params,
        specs: list[Spec],
        deposits: float,
        *,
        seed: int,
        latency_ms: tuple[int, int],
        depth: int,
        watcher: Watcher,
    ) -> None:
        super().__init__(params, specs, deposits, seed=seed, latency_ms=latency_ms, depth=depth)
        self.watcher = watcher
        self.terms: dict[str, Terms] = {}
        self.waiting: dict[str, PlaceOrder] = {}
        """conditional orders whose price has not been reached"""
        self.halted: set[int] = set()
        """symbols whose market stands still: what arrives does not trade"""
        self.ended: set[int] = set()
        """symbols whose contract has ended: what arrives is refused"""

    def send(self, order: PlaceOrder, terms: Terms, now: int) -> None:
        """Send an order with terms; whatever comes of it comes out of `advance`."""
        self.terms[order.client_id] = terms
        self.submit(order, now)

    def answer(self, event: Event) -> None:
        super().answer(event)
        match event:
            case OrderCancelled(client_id=name) | OrderRejected(client_id=name):
                self.terms.pop(name, None)
            case OrderFilled(client_id=name) if name not in self.book.orders:
                self.terms.pop(name, None)

    def settle(self, k: int) -> None:
        """Close the position on symbol `k`: its contract has ended."""
        self.ended.add(k)
        if self.ledger.held[k].side != 0:
            self.take(k, self.ledger.held[k].contracts, Takeover.SETTLEMENT)

    def take(self, k: int, contracts: float, way: Takeover) -> None:
        """Take contracts of the position on symbol `k` over at the mark, without a fee."""
        mark = self.ledger.marks[k]
        self.ledger.reduce(k, contracts, mark)
        self.fills += 1
        self.answer(Liquidated(self.now_ms, k, contracts, mark, 0.0, f"f{self.fills}", way))
        self._sweep(k)

    def reserved_margin(self) -> float:
        """Return the margin that resting entries will need, USDT."""
        return self._reserve(Closable(self.ledger.held))

    def _reserve(self, closable: Closable) -> float:
        """Return the same, and let the entries close what they can of `closable`."""
        needed = 0.0
        for order in self.book.waiting(Role.ENTRY):
            needed += self._margin(order, self.book.left[order.client_id], closable)
        return needed

    def _margin(self, order: PlaceOrder, contracts: float, closable: Closable) -> float:
        """Return what the contracts of an entry need that close nothing, USDT."""
        opening = closable.opening(order.symbol, order.side, contracts)
        return opening * self.specs[order.symbol].multiplier * order.price / order.leverage

    def _take_place(self, what: object) -> None:
        if isinstance(what, Cancellation) and what.client_id in self.waiting:
            del self.waiting[what.client_id]
            self.answer(OrderCancelled(self.now_ms, what.client_id))
        elif not (isinstance(what, Quote) and what.symbol in self.halted):
            super()._take_place(what)

    def _quote(self, quote: Quote) -> None:
        super()._quote(quote)
        for order in self.book.resting(quote.symbol, Role.ENTRY):
            self._trade_resting(order)
        for order in [o for o in self.waiting.values() if o.symbol == quote.symbol]:
            self._try_condition(order)
        self.watcher.quoted(quote)

    def _try_trigger(self, stop: PlaceOrder) -> bool:
        before = stop.client_id in self.book.triggered
        reached = super()._try_trigger(stop)
        if reached and not before:
            self.watcher.triggered(stop.client_id, self.now_ms)
        return reached

    def _arrive(self, order: PlaceOrder) -> None:
        terms = self.terms.get(order.client_id)
        if order.symbol in self.ended:
            self.transit.pop(order.client_id, None)
            self.answer(OrderRejected(self.now_ms, order.client_id, ENDED))
        elif terms is None:
            super()._arrive(order)
        elif terms.trigger is None:
            self._admit(order, terms)
        else:
            self._wait(order)

    def _wait(self, order: PlaceOrder) -> None:
        """Put a conditional order where it waits, and look whether its price is there already."""
        self.transit.pop(order.client_id, None)
        if order.reduce_only and self.ledger.held[order.symbol].side != -order.side:
            self.answer(OrderRejected(self.now_ms, order.client_id, self.book.refusal(order)))
            return
        self.waiting[order.client_id] = order
        self.answer(OrderAccepted(self.now_ms, order.client_id))
        self._try_condition(order)

    def _try_condition(self, order: PlaceOrder) -> None:
        """Let a conditional order trade once its price has been reached."""
        terms, k = self.terms.get(order.client_id), order.symbol
        if terms is None or terms.trigger is None or order.client_id not in self.waiting:
            return
        trigger = terms.trigger
        price = self.ledger.marks[k] if trigger.on_mark else self.last[k]
        side = -1 if trigger.up else 1
        if price > 0.0 and self._passes(side, STOP, trigger.price, price, k):
            del self.waiting[order.client_id]
            if terms.closes:
                order = replace(order, contracts=self.ledger.held[k].contracts)
            self.terms[order.client_id] = terms._replace(trigger=None)
            self._admit(order, self.terms[order.client_id], triggered=True)

    def _passes(self, side: int, what: int, level: float, price: float, k: int) -> bool:
        """Return whether a price does to a level what the kernel says of a position on `side`."""
        stop, target = (level, 0.0) if what == STOP else (0.0, level)
        return bar_exit(side, stop, target, 0.0, self.specs[k], price, price, price) == what

    def _admit(self, order: PlaceOrder, terms: Terms, *, triggered: bool = False) -> None:
        """Refuse or take an order with terms, and let it trade what it can at once."""
        self.transit.pop(order.client_id, None)
        if order.role is Role.ENTRY and order.price == 0.0:
            order = self._in_band(order)
        refusal = self._refusal(order)
        if refusal:
            self.answer(OrderRejected(self.now_ms, order.client_id, refusal))
            return
        if triggered:
            self.watcher.triggered(order.client_id, self.now_ms)
        self.book.add(order)
        self.answer(OrderAccepted(self.now_ms, order.client_id))
        if order.role is Role.EXIT:
            self._trade_at_market(order)
            return
        if not (terms.post_only and self._would_take(order)):
            self._take_levels(order)
            if terms.rests:
                return
        if self.book.remove(order.client_id):
            self.answer(OrderCancelled(self.now_ms, order.client_id))

    def _take_levels(self, order: PlaceOrder) -> None:
        if order.symbol not in self.halted:
            super()._take_levels(order)

    def _trade_at_market(self, order: PlaceOrder) -> None:
        if order.symbol not in self.halted:
            super()._trade_at_market(order)

    def _in_band(self, order: PlaceOrder) -> PlaceOrder:
        """Return a market order with the limit that the band is."""
        mark, spec = self.ledger.marks[order.symbol], self.specs[order.symbol]
        if order.side > 0:
            return replace(order, price=round_down(mark * (1.0 + MARKET_BAND), spec))
        return replace(order, price=round_up(mark * (1.0 - MARKET_BAND), spec))

    def _refusal(self, order: PlaceOrder) -> str:
        """Return why an order is not taken, or an empty text: the book's reasons, and margin that
        is tied up or that resting orders keep."""
        flaw = self.book.flaw(order)
        if flaw or order.role is not Role.ENTRY:
            return flaw
        closable = Closable(self.ledger.held)
        free = self.ledger.free_margin() - self._reserve(closable)
        needed = self._margin(order, order.contracts, closable)
        return NO_MARGIN if needed > max(free, 0.0) else ""

    def _would_take(self, order: PlaceOrder) -> bool:
        """Return whether the market stands where an order at its limit would trade at once."""
        last = self.last[order.symbol]
        price = market_price(last, order.side, self.params, self.specs[order.symbol])
        return last > 0.0 and entry_fills(price, order.price, order.side)

    def _trade_resting(self, order: PlaceOrder) -> None:
        """Fill a resting order at its price, or cancel it when its margin is not there any more."""
        k = order.symbol
        contracts = min(self.book.left[order.client_id], self.depth - self.taken[k])
        reached = self._passes(-order.side, TARGET, order.price, self.last[k], k)
        if not reached or contracts <= 0.0:
            return
        needed = self._margin(order, contracts, Closable(self.ledger.held))
        if needed <= max(self.ledger.free_margin(), 0.0):
            self._fill(order, contracts, order.price, MAKER)
        elif self.book.remove(order.client_id):
            self.answer(OrderCancelled(self.now_ms, order.client_id))

    def _book_fill(
        self, order: PlaceOrder, contracts: float, price: float, liquidity: int
    ) -> float:
        if order.reduce_only:
            return super()._book_fill(order, contracts, price, liquidity)
        return self.ledger.book_net(order, contracts, price, liquidity, self.now_ms)

    def _sweep(self, k: int) -> None:
        super()._sweep(k)
        for name in [o.client_id for o in self._needing(k)]:
            del self.waiting[name]
            self.answer(OrderCancelled(self.now_ms, name))

    def _needing(self, k: int) -> Iterator[PlaceOrder]:
        """Yield the conditional orders that would need a position which is not there any more."""
        side = self.ledger.held[k].side
        on = (o for o in self.waiting.values() if o.symbol == k and o.reduce_only)
        return (o for o in on if o.side != -side)
