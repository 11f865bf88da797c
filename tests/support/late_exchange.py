"""A small exchange of one contract whose list of fills is late and out of order; all else that it
tells is right and of now. Its answers get lost, its stops and targets trade whole or in parts.
"""

from dataclasses import dataclass
from random import Random

from bot.core.messages import (
    CancelOrder,
    OrderAccepted,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.core.observations import OutcomeUnknown
from bot.core.reconcile import Holding, OrderReport, Snapshot, in_doubt, reconcile
from tests.support.states import Desk

FEE = 0.01  # USDT for each contract
LOST = 0.1  # share of orders whose answer is lost
TRADES = 0.01  # share of seconds in which a stop or a target trades
LATEST_MS = 50_000
"""after its trade a fill is on the list; the bot waits for a minute before it asks whose deed a
difference is"""


@dataclass
class Sent:
    """An order as the exchange has it."""

    order: PlaceOrder
    filled: int = 0
    active: bool = True

    @property
    def left(self) -> int:
        return int(self.order.contracts) - self.filled


class LateExchange:
    """What the bot of a desk trades with; `late` is the share of fills that are late."""

    def __init__(self, rng: Random, desk: Desk, late: float) -> None:
        self.rng, self.desk, self.late = rng, desk, late
        self.orders: dict[str, Sent] = {}
        self.fills: list[tuple[float, OrderFilled]] = []
        """with the time at which each is on the list, ms"""
        self.held = 0
        """contracts, signed"""
        self.entry = 0.0
        self.wallet = desk.state.world.account.equity
        self.price = 100.0
        self.seen = len(desk.effects)

    @property
    def uncovered(self) -> bool:
        """Whether a part of the position has no stop."""
        stops = (s for s in self.orders.values() if s.active and s.order.role is Role.STOP)
        return sum(s.left for s in stops if s.order.side * self.held < 0) < abs(self.held)

    # What happens.

    def obey(self) -> None:
        """Do what the bot has asked for since the last time, and what it asks for thereupon."""
        while self.seen < len(self.desk.effects):
            effect = self.desk.effects[self.seen]
            self.seen += 1
            if isinstance(effect, PlaceOrder):
                self.take(effect)
            elif isinstance(effect, CancelOrder) and effect.client_id in self.orders:
                self.orders[effect.client_id].active = False

    def take(self, order: PlaceOrder) -> None:
        """Take an order in, let it trade, and answer."""
        now, name = self.desk.now, order.client_id
        if order.reduce_only and self.held * order.side >= 0:
            self.desk.feed(OrderRejected(now, name, "no open positions to close"))
            return
        sent = self.orders[name] = Sent(order)
        if order.role is Role.ENTRY:
            whole = self.rng.random() < 0.7
            self.trade(sent, sent.left if whole else self.rng.randint(0, sent.left))
        elif order.role is Role.EXIT:
            self.trade(sent, min(sent.left, abs(self.held)))
        if order.role in (Role.ENTRY, Role.EXIT):
            sent.active = False
        lost = self.rng.random() < LOST
        self.desk.feed(OutcomeUnknown(now, name) if lost else OrderAccepted(now, name))

    def trade(self, sent: Sent, contracts: int) -> None:
        """Let so many contracts of an order trade, in parts."""
        while contracts > 0:
            part = self.rng.randint(1, contracts)
            contracts -= part
            self.fill(sent, part)

    def fill(self, sent: Sent, contracts: int) -> None:
        """Let one part trade."""
        side, before, now = sent.order.side, abs(self.held), self.desk.now
        if self.held * side < 0:
            self.wallet += -side * (self.price - self.entry) * contracts
        else:
            self.entry = (self.entry * before + self.price * contracts) / (before + contracts)
        self.held += side * contracts
        self.wallet -= FEE * contracts
        sent.filled += contracts
        sent.active = sent.active and sent.left > 0
        listed = now + self.rng.uniform(1_000, LATEST_MS) * (self.rng.random() < self.late)
        name, number = sent.order.client_id, f"f{len(self.fills)}"
        told = OrderFilled(now, name, number, contracts, self.price, FEE * contracts, 0, side)
        self.fills.append((listed, told))
        if self.held == 0:  # as KuCoin does with what is reduce-only
            for other in self.orders.values():
                other.active = other.active and not other.order.reduce_only

    def let_time_pass(self) -> None:
        """Let what rests trade now and then: a stop whole, a target also in part."""
        for sent in list(self.orders.values()):
            if sent.active and self.held * sent.order.side < 0 and self.rng.random() < TRADES:
                most = min(sent.left, abs(self.held))
                if sent.order.role is Role.TARGET:
                    self.fill(sent, self.rng.randint(1, most))
                else:
                    self.trade(sent, most)
                    sent.active = False

    # What is told.

    def read(self) -> None:
        """Show the bot the account as it is, but for fills that are not listed yet."""
        state, now = self.desk.state, self.desk.now
        asked = in_doubt(state)
        reports = {
            name: OrderReport(name, 0, sent.active, float(sent.filled))
            for name, sent in self.orders.items()
            if sent.active or name in asked
        }
        side = (self.held > 0) - (self.held < 0)
        seen = Snapshot(
            now_ms=now,
            wallet=self.wallet,
            holdings=(Holding(side, float(abs(self.held)), self.price if side else 0.0),),
            open_orders=tuple(report for report in reports.values() if report.resting),
            asked=asked,
            reports=reports,
            entries=tuple(fill for listed, fill in self.fills if listed <= now),
        )
        for event in reconcile(state, seen):
            self.desk.feed(event)
