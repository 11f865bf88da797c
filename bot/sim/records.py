"""What the simulated exchange remembers of an account, and how it is read.

Bounded: what is older than the newest `REMEMBERED` of its kind cannot be asked for any more.
"""

from collections import deque
from itertools import takewhile

from bot.core.messages import (
    Event,
    FundingSettled,
    Liquidated,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
)
from bot.core.reconcile import Entry, Holding, OrderReport, Snapshot
from bot.sim.book import Book
from bot.sim.ledger import Ledger

REMEMBERED = 2_000  # records and finished orders


class Records:
    """The account's records (fills, funding, liquidations) and its finished orders."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.entries: deque[Entry] = deque(maxlen=REMEMBERED)
        self.finished: dict[str, OrderReport] = {}
        self.filled: dict[str, float] = {}
        """contracts that traded so far of orders that are not finished"""
        self.fresh_entries: deque[Entry] = deque(maxlen=REMEMBERED)
        self.fresh_finished: deque[OrderReport] = deque(maxlen=REMEMBERED)
        """what has been added since the owner emptied them into its database"""

    def keep(self, event: Event) -> None:
        """Remember what the account can be asked for later."""
        if isinstance(event, OrderFilled | FundingSettled | Liquidated):
            self.entries.append(event)
            self.fresh_entries.append(event)
        if isinstance(event, OrderFilled):
            total = self.filled.get(event.client_id, 0.0) + event.contracts
            self.filled[event.client_id] = total
            if event.client_id not in self.book.orders:
                self.finish(event.client_id, event.symbol)
        elif isinstance(event, OrderCancelled):
            self.finish(event.client_id, -1)
        elif isinstance(event, OrderRejected):
            self.finish(event.client_id, -1, event.message)

    def finish(self, client_id: str, symbol: int, refusal: str = "") -> None:
        """Remember how an order ended."""
        filled = self.filled.pop(client_id, 0.0)
        report = OrderReport(client_id, symbol, False, filled, refusal)
        self.finished[client_id] = report
        self.fresh_finished.append(report)
        if len(self.finished) > REMEMBERED:
            self.finished.pop(next(iter(self.finished)))

    def read(self, ledger: Ledger, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        """Return a read of the account."""
        book = self.book
        open_orders = tuple(
            OrderReport(o.client_id, o.symbol, True, o.contracts - book.left[o.client_id])
            for o in book.orders.values()
        )
        known = {report.client_id: report for report in open_orders}
        known |= {name: self.finished[name] for name in asked if name in self.finished}
        return Snapshot(
            now_ms=now,
            wallet=ledger.wallet,
            holdings=tuple(
                Holding(held.side, held.contracts, mark)
                for held, mark in zip(ledger.held, ledger.marks, strict=True)
            ),
            open_orders=open_orders,
            asked=asked,
            reports=known,
            entries=self.since(since_ms),
        )

    def since(self, since_ms: int) -> tuple[Entry, ...]:
        """Return the records from `since_ms` on, oldest first; they are kept in order of time."""
        found = list(takewhile(lambda entry: entry.now_ms >= since_ms, reversed(self.entries)))
        return tuple(reversed(found))
