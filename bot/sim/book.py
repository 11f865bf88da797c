"""The exchange's order lists and the checks an order passes before it is accepted."""

import math

from bot.core.kernel.params import Spec
from bot.core.messages import PlaceOrder, Role
from bot.sim.ledger import Ledger

NO_MARGIN = "balance insufficient (300003)"


class Book:
    """Resting and waiting orders of the simulated account, in order of arrival."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.orders: dict[str, PlaceOrder] = {}
        self.left: dict[str, float] = {}
        """contracts that have not traded yet"""
        self.triggered: set[str] = set()
        """stops that the mark has reached and that trade at the market since"""

    def refusal(self, order: PlaceOrder) -> str:
        """Return why the exchange would refuse this order, or an empty text.

        The texts follow KuCoin's: duplicate client id, position does not exist for reduce-only,
        insufficient balance, contracts not whole, price off the tick grid.
        """
        flaw = self.flaw(order)
        if not flaw and order.role is Role.ENTRY and order.notional == 0.0:
            spec = self.ledger.specs[order.symbol]
            needed = order.contracts * spec.multiplier * order.price / order.leverage
            if needed > self.ledger.free_margin():
                return NO_MARGIN
        return flaw

    def flaw(self, order: PlaceOrder) -> str:
        """Return why the exchange would refuse this order however much money there is, or an empty
        text."""
        spec = self.ledger.specs[order.symbol]
        held = self.ledger.held[order.symbol]
        if order.client_id in self.orders:
            return "clientOid already exists"
        if order.reduce_only and held.side != -order.side:
            return "no open position to close (300009)"
        if spec.tick > 0.0:
            if order.contracts < 1.0 or order.contracts != math.floor(order.contracts):
                return "size must be a whole number of at least 1 (100001)"
            if order.price > 0.0 and not on_tick(order.price, spec):
                return "price is not a multiple of the tick size (300012)"
        return ""

    def add(self, order: PlaceOrder) -> None:
        """Take an accepted order in."""
        self.orders[order.client_id] = order
        self.left[order.client_id] = order.contracts

    def take(self, client_id: str, contracts: float) -> None:
        """Note that `contracts` of an order traded; it leaves when nothing is left of it."""
        self.left[client_id] -= contracts
        if self.left[client_id] <= 0.0:
            self.remove(client_id)

    def remove(self, client_id: str) -> bool:
        """Take an order out; return whether it was there."""
        self.left.pop(client_id, None)
        self.triggered.discard(client_id)
        return self.orders.pop(client_id, None) is not None

    def waiting(self, *roles: Role) -> list[PlaceOrder]:
        """Return the orders in these roles, by symbol and then by arrival."""
        return sorted((o for o in self.orders.values() if o.role in roles), key=lambda o: o.symbol)

    def resting(self, k: int, role: Role) -> list[PlaceOrder]:
        """Return the orders of one symbol and role, by arrival."""
        return [o for o in self.orders.values() if o.symbol == k and o.role is role]

    def at_market(self, k: int) -> list[PlaceOrder]:
        """Return what trades at the market on one symbol: exits and triggered stops, by arrival."""
        return [
            o
            for o in self.orders.values()
            if o.symbol == k and (o.role is Role.EXIT or o.client_id in self.triggered)
        ]

    def reduce_only(self, k: int) -> list[PlaceOrder]:
        """Return the orders of one symbol that need its position, by arrival."""
        return [o for o in self.orders.values() if o.symbol == k and o.reduce_only]


def on_tick(price: float, spec: Spec) -> bool:
    """Return whether a price lies on the grid, up to the noise of a float division."""
    steps = price / spec.tick
    return abs(steps - math.floor(steps + 0.5)) < 1e-6 * max(1.0, steps)
