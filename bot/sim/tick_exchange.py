"""The simulated exchange, profile `tick`: latency, partial fills, stops that trigger on a mark.

Rules of this file:
- An order or a cancellation reaches the exchange after a latency drawn from the seed. Orders may
  overtake each other; a cancellation never overtakes its own order, because only the answer to the
  order makes it possible.
- Each quote brings `depth` contracts at the market price; what trades before the next quote uses
  them up. Market orders then wait for the next quote. An IOC entry goes on to worse levels of the
  same depth, each one slippage further, as long as its limit allows.
- At one instant: the quote (liquidation, stops, market orders, targets), then funding, then what
  arrives.
- Every price, fee, funding amount and liquidation comes from the kernel.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

from bot.core.errors import InputError, InvariantError
from bot.core.kernel.codes import LIQUIDATION, MAKER, STOP, TAKER, TARGET
from bot.core.kernel.levels import bar_exit
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import entry_fills, market_price
from bot.core.messages import (
    Event,
    FundingSettled,
    Liquidated,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.sim.book import Book
from bot.sim.ledger import Ledger
from bot.sim.records import Records
from bot.sim.ticks import Quote

# What comes first at one instant (DESIGN section 3 rule 2: bar, funding, then orders).
QUOTE, FUNDING, ARRIVAL = range(3)


class Settlement(NamedTuple):
    """One funding settlement: the rate that longs pay, a fraction of notional."""

    symbol: int
    rate: float


class Cancellation(NamedTuple):
    """A wish to cancel, on its way to the exchange."""

    client_id: str


class TickExchange:
    """A futures account on quotes. Time passes in `advance` only; times are int64 ms UTC.

    The caller reacts to an event (`submit`, `cancel`) before it asks `advance` for the next one.
    """

    def __init__(
        self,
        params: Params,
        specs: list[Spec],
        deposits: float,
        *,
        seed: int,
        latency_ms: tuple[int, int],
        depth: int,
    ) -> None:
        """Open an account with `deposits` USDT.

        Parameters
        ----------
        latency_ms : least and most time an order is on its way
        depth : contracts at the market price with each quote

        Raises
        ------
        InputError : a latency or a depth that no exchange has, or profile `reference`
        """
        if not 0 <= latency_ms[0] <= latency_ms[1]:
            raise InputError(f"latency_ms: expected 0 <= least <= most, was {latency_ms}")
        if depth < 1:
            raise InputError(f"depth: expected at least 1 contract, was {depth}")
        if params.reference != 0:
            raise InputError(
                "profile `reference` trades fractions: expected exchange profile `bar`"
            )
        self.params = params
        self.specs = specs
        self.ledger = Ledger(params, specs, deposits)
        self.book = Book(self.ledger)
        self.records = Records(self.book)
        self.last = [0.0 for _ in specs]
        """last price; 0 before the first quote"""
        self.taken = [0.0 for _ in specs]
        """contracts that traded since the last quote"""
        self.depth = float(depth)
        self.latency_ms = latency_ms
        self.now_ms = 0
        self.fills = 0
        self.transit: dict[str, int] = {}
        """orders on their way, and when they arrive"""
        self._random = Random(seed)
        self._agenda: list[tuple[int, int, int, object]] = []
        """heap of (ms, rank, number, what); the number keeps what is equal in order"""
        self._planned = 0
        self._outbox: deque[Event] = deque()

    def load(self, quotes: Iterable[Quote], funding: Iterable[tuple[int, int, float]] = ()) -> None:
        """Add quotes and settlements (symbol, ms, rate) that are still to come."""
        for quote in quotes:
            self._plan(quote.ms, QUOTE, quote)
        for symbol, settled_ms, rate in funding:
            self._plan(settled_ms, FUNDING, Settlement(symbol, rate))

    def submit(self, order: PlaceOrder, now: int) -> None:
        """Send an order; whatever comes of it comes out of `advance`."""
        arrival = now + self._random.randint(*self.latency_ms)
        self.transit[order.client_id] = arrival
        self._plan(arrival, ARRIVAL, order)

    def cancel(self, client_id: str, now: int) -> None:
        """Ask for a cancellation; a fill may come first, and then there is no answer to it."""
        arrival = now + self._random.randint(*self.latency_ms)
        self._plan(max(arrival, self.transit.get(client_id, 0)), ARRIVAL, Cancellation(client_id))

    def advance(self, to_ms: int) -> Iterator[Event]:
        """Let time pass up to and including `to_ms`; yield what happens, in order of time.

        An iteration that is broken off loses nothing: the next one goes on where it stopped.
        """
        while self._outbox or (self._agenda and self._agenda[0][0] <= to_ms):
            while self._outbox:
                yield self._outbox.popleft()
            if self._agenda and self._agenda[0][0] <= to_ms:
                self.now_ms, _, _, what = heapq.heappop(self._agenda)
                self._take_place(what)
        self.now_ms = max(self.now_ms, to_ms)

    def next_ms(self, otherwise: int) -> int:
        """Return when something can happen next; `otherwise` when nothing is to come."""
        if self._outbox:
            return self.now_ms
        return self._agenda[0][0] if self._agenda else otherwise

    def _plan(self, ms: int, rank: int, what: object) -> None:
        if ms < self.now_ms:
            raise InvariantError(f"expected a time from {self.now_ms} on, was {ms} for {what}")
        self._planned += 1
        heapq.heappush(self._agenda, (ms, rank, self._planned, what))

    def answer(self, event: Event) -> None:
        """Let an answer leave the exchange: every event goes through here and nowhere else."""
        self.records.keep(event)
        self._outbox.append(event)

    def _take_place(self, what: object) -> None:
        match what:
            case Quote():
                self._quote(what)
            case Settlement(symbol, rate):
                if self.ledger.owes_funding(symbol, self.now_ms):
                    amount = self.ledger.settle_funding(symbol, rate)
                    self.fills += 1
                    self.answer(FundingSettled(self.now_ms, symbol, amount, f"f{self.fills}"))
            case PlaceOrder():
                self._arrive(what)
            case Cancellation(client_id):
                if self.book.remove(client_id):
                    self.answer(OrderCancelled(self.now_ms, client_id))

    def _quote(self, quote: Quote) -> None:
        """Move the market of one symbol and let it act on the position and the orders there."""
        k = quote.symbol
        self.last[k] = quote.last
        self.taken[k] = 0.0
        self.ledger.marks[k] = quote.mark
        if self._reached(k, LIQUIDATION, self.ledger.liquidation_price(k)):
            self.liquidate(k)
        for order in self.book.resting(k, Role.STOP):
            self._try_trigger(order)
        for order in self.book.at_market(k):
            self._trade_at_market(order)
        for order in self.book.resting(k, Role.TARGET):
            self._trade_target(order)

    def _reached(self, k: int, what: int, level: float) -> bool:
        """Return whether the price that decides has reached a level of the position on symbol `k`.

        The mark decides on stops and liquidation, the last price on targets.
        """
        held = self.ledger.held[k]
        price = self.last[k] if what == TARGET else self.ledger.marks[k]
        if held.side == 0 or price <= 0.0:
            return False
        stop = level if what == STOP else 0.0
        target = level if what == TARGET else 0.0
        liquidation = level if what == LIQUIDATION else 0.0
        spec = self.specs[k]
        return bar_exit(held.side, stop, target, liquidation, spec, price, price, price) == what

    def _arrive(self, order: PlaceOrder) -> None:
        """Refuse or take an order, and let it trade what it can at once."""
        self.transit.pop(order.client_id, None)
        refusal = self.book.refusal(order)
        if refusal:
            self.answer(OrderRejected(self.now_ms, order.client_id, refusal))
            return
        self.book.add(order)
        self.answer(OrderAccepted(self.now_ms, order.client_id))
        match order.role:
            case Role.ENTRY:
                self._trade_entry(order)
            case Role.EXIT:
                self._trade_at_market(order)
            case Role.STOP:
                if self._try_trigger(order):
                    self._trade_at_market(order)

    def _try_trigger(self, stop: PlaceOrder) -> bool:
        """Trigger a stop that the mark has reached, for good; return whether it is triggered."""
        if self._reached(stop.symbol, STOP, stop.price):
            self.book.triggered.add(stop.client_id)
        return stop.client_id in self.book.triggered

    def _trade_entry(self, order: PlaceOrder) -> None:
        """Fill an IOC entry and cancel the rest."""
        self._take_levels(order)
        if self.book.remove(order.client_id):
            self.answer(OrderCancelled(self.now_ms, order.client_id))

    def _take_levels(self, order: PlaceOrder) -> None:
        """Fill a limit order from level to level as far as its limit allows."""
        k = order.symbol
        while self.last[k] > 0.0 and order.client_id in self.book.orders:
            price = self.last[k]
            for _ in range(int(self.taken[k] // self.depth) + 1):
                price = market_price(price, order.side, self.params, self.specs[k])
            if not entry_fills(price, order.price, order.side):
                break
            room = self.depth - self.taken[k] % self.depth
            if order.reduce_only:
                room = min(room, self.ledger.held[k].contracts)
            self._fill(order, min(self.book.left[order.client_id], room), price, TAKER)

    def _trade_at_market(self, order: PlaceOrder) -> None:
        """Fill what the depth at the market price allows; the rest waits for the next quote."""
        k = order.symbol
        if self.last[k] > 0.0:
            price = market_price(self.last[k], order.side, self.params, self.specs[k])
            self._reduce(order, price, TAKER)

    def _trade_target(self, order: PlaceOrder) -> None:
        """Fill a target that the price has traded through by a tick, at its own price."""
        if self._reached(order.symbol, TARGET, order.price):
            self._reduce(order, order.price, MAKER)

    def _reduce(self, order: PlaceOrder, price: float, liquidity: int) -> None:
        """Trade a reduce-only order, cut to the position and to the depth that is left."""
        if order.client_id not in self.book.orders:
            return
        k = order.symbol
        room = min(self.ledger.held[k].contracts, self.depth - self.taken[k])
        contracts = min(self.book.left[order.client_id], room)
        if contracts > 0.0:
            self._fill(order, contracts, price, liquidity)

    def _fill(self, order: PlaceOrder, contracts: float, price: float, liquidity: int) -> None:
        k = order.symbol
        paid = self._book_fill(order, contracts, price, liquidity)
        self.book.take(order.client_id, contracts)
        self.taken[k] += contracts
        self.fills += 1
        fill_id = f"f{self.fills}"
        self.answer(
            OrderFilled(
                self.now_ms, order.client_id, fill_id, contracts, price, paid, k, order.side
            )
        )
        self._sweep(k)

    def _book_fill(
        self, order: PlaceOrder, contracts: float, price: float, liquidity: int
    ) -> float:
        """Book a trade in the ledger; return the fee in USDT."""
        return self.ledger.book_fill(order, contracts, price, liquidity, self.now_ms)

    def liquidate(self, k: int) -> None:
        """Take the whole position on symbol `k` over."""
        contracts, price, paid = self.ledger.take_over(k)
        self.fills += 1
        self.answer(Liquidated(self.now_ms, k, contracts, price, paid, f"f{self.fills}"))
        self._sweep(k)

    def _sweep(self, k: int) -> None:
        """Cancel the reduce-only orders of a symbol whose position is gone, as KuCoin does."""
        for order in self.book.reduce_only(k):
            if self.ledger.held[k].side != -order.side:
                self.book.remove(order.client_id)
                self.answer(OrderCancelled(self.now_ms, order.client_id))
