"""The simulated exchange, profile `bar`: paper trading on candles, without latency in time.

Orders fill at the open of the bar that begins when they arrive, in full, at the kernel's prices;
stops, targets and liquidation happen inside a bar as the kernel says. Together with `core.step` it
repeats `kernel.replay` to the bit (DESIGN section 3, L1). A generator yields each answer as soon as
it exists, because what the bot does about one fill comes before the next one.
"""

from collections.abc import Iterator

from bot.core.kernel.codes import LIQUIDATION, MAKER, STOP, TAKER, TARGET
from bot.core.kernel.levels import bar_exit, stop_fill_price, target_fill_price
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import entry_fills, market_price
from bot.core.market import Bar, Row
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


class BarExchange:
    """A futures account on candles. Times are the caller's: it is told when bars begin and end."""

    def __init__(self, params: Params, specs: list[Spec], deposits: float) -> None:
        self.params = params
        self.specs = specs
        self.ledger = Ledger(params, specs, deposits)
        self.book = Book(self.ledger)
        self.opens: list[float] = [0.0 for _ in specs]
        """price at which market orders trade now; 0 where the symbol has no bar"""
        self.fills = 0

    def submit(self, order: PlaceOrder, now: int) -> Event:
        """Take or refuse an order; what it trades comes from `trade_at_open`."""
        refusal = self.book.refusal(order)
        if refusal:
            return OrderRejected(now, order.client_id, refusal)
        self.book.add(order)
        return OrderAccepted(now, order.client_id)

    def cancel(self, client_id: str, now: int) -> Event | None:
        """Cancel an order; None when it is not there any more (its last event is on its way)."""
        return OrderCancelled(now, client_id) if self.book.remove(client_id) else None

    def end_bar(self, row: Row, now: int) -> Iterator[Event]:
        """Let the bars of `row`, which end at `now`, do their work: exits, marks, funding."""
        for k, bar in enumerate(row.bars):
            if bar is not None and (event := self.end_symbol(k, bar, now)) is not None:
                yield event
        for k, settled_ms, rate in row.funding:
            if (event := self.settle(k, settled_ms, rate, now)) is not None:
                yield event

    def end_symbol(self, k: int, bar: Bar, now: int) -> Event | None:
        """End the bar of one symbol: what it triggers on the position, then the new mark."""
        event = self.inside_bar(k, bar, now) if self.ledger.held[k].side != 0 else None
        self.ledger.marks[k] = bar.close
        return event

    def settle(self, k: int, settled_ms: int, rate: float, now: int) -> Event | None:
        """Settle funding on symbol `k`, if its position takes part."""
        if not self.ledger.owes_funding(k, settled_ms):
            return None
        amount = self.ledger.settle_funding(k, rate)
        return FundingSettled(now, k, amount, f"funding-{k}-{settled_ms}")

    def inside_bar(self, k: int, bar: Bar, now: int) -> Event | None:
        """Trigger what one bar triggers on the position of symbol `k`."""
        held = self.ledger.held[k]
        stop = self.nearest_stop(k)
        targets = self.book.resting(k, Role.TARGET)
        reason = bar_exit(
            held.side,
            stop.price if stop else 0.0,
            targets[0].price if targets else 0.0,
            self.ledger.liquidation_price(k),
            self.specs[k],
            bar.open,
            bar.high,
            bar.low,
        )
        if reason == STOP and stop:
            price = stop_fill_price(stop.price, held.side, bar.open, self.params, self.specs[k])
            return self.fill(stop, min(held.contracts, stop.contracts), price, TAKER, now)
        if reason == TARGET:
            price = target_fill_price(targets[0].price, held.side, bar.open)
            contracts = min(held.contracts, targets[0].contracts)
            return self.fill(targets[0], contracts, price, MAKER, now)
        return self.liquidate(k, now) if reason == LIQUIDATION else None

    def nearest_stop(self, k: int) -> PlaceOrder | None:
        """Return the resting stop that triggers first: the one nearest to the market."""
        stops = self.book.resting(k, Role.STOP)
        side = self.ledger.held[k].side
        return max(stops, key=lambda o: side * o.price, default=None)

    def begin_bar(self, row: Row | None) -> None:
        """Learn the opens of the bars that begin now; None when the market has ended."""
        if row is None:
            self.opens = [0.0 for _ in self.specs]
        else:
            self.opens = [bar.open if bar is not None else 0.0 for bar in row.bars]

    def trade_at_open(self, now: int) -> Iterator[Event]:
        """Fill what can fill at the open: exits, then entries, then entries sent since."""
        early = [order.client_id for order in self.book.waiting(Role.EXIT, Role.ENTRY)]
        while (event := self.next_at_open(early, now)) is not None:
            yield event

    def next_at_open(self, early: list[str], now: int) -> Event | None:
        """Return the next thing that happens at the open, None when all is done.

        `early` are the orders that waited when the bar began; exits sent later wait for the next.
        """
        for order in self.book.waiting(Role.EXIT):
            if self.opens[order.symbol] > 0.0 and order.client_id in early:
                return self.fill_at(order, self.opens[order.symbol], now)
        waiting = sorted(self.book.waiting(Role.ENTRY), key=lambda o: o.client_id not in early)
        for order in waiting:
            if (event := self.try_entry(order, now)) is not None:
                return event
        return None

    def try_entry(self, order: PlaceOrder, now: int) -> Event | None:
        """Fill an entry at the open inside its limit, or let it expire; at market it waits."""
        open_ = self.opens[order.symbol]
        if open_ <= 0.0 and order.price == 0.0:
            return None
        price = market_price(open_, order.side, self.params, self.specs[order.symbol])
        if open_ > 0.0 and entry_fills(price, order.price, order.side):
            contracts = order.contracts if order.notional == 0.0 else order.notional / price
            return self.fill(order, contracts, price, TAKER, now)
        self.book.remove(order.client_id)
        return OrderCancelled(now, order.client_id)

    def fill_at(self, order: PlaceOrder, price: float, now: int) -> Event:
        """Fill an exit at the market that stands at `price`."""
        contracts = min(order.contracts, self.ledger.held[order.symbol].contracts)
        got = market_price(price, order.side, self.params, self.specs[order.symbol])
        return self.fill(order, contracts, got, TAKER, now)

    def fill(
        self, order: PlaceOrder, contracts: float, price: float, liquidity: int, now: int
    ) -> OrderFilled:
        """Trade `contracts` of an order at `price` and take it off the book."""
        paid = self.ledger.book_fill(order, contracts, price, liquidity, now)
        self.book.remove(order.client_id)
        self.fills += 1
        return OrderFilled(
            now, order.client_id, f"f{self.fills}", contracts, price, paid, order.symbol, order.side
        )

    def liquidate(self, k: int, now: int) -> Liquidated:
        """Take the whole position over at the price that leaves nothing of its margin."""
        contracts, price, paid = self.ledger.take_over(k)
        self.fills += 1
        return Liquidated(now, k, contracts, price, paid, f"f{self.fills}")
