"""The account: which orders there are, what it holds, what money is free.

`door` lets orders in, `answers` turns what the market says into orders, fills and news; both work
on an Account. In the simulated exchange an order is known by its order id; the clientOid is the
wire's alone.

Bounded: the newest `KEPT_DONE` finished orders can be read, `KEPT_IDS` clientOids are remembered.
"""

from collections import deque
from typing import Any, Protocol

from bot.core.messages import Role
from bot.sim.full_exchange import FullExchange
from bot.sim.ledger import Closable
from ops.exchange import news
from ops.exchange.names import wire_symbol
from ops.exchange.orders import WireOrder
from ops.exchange.positions import Track, isolated_margin, position_view, unrealised
from ops.exchange.statements import Statements
from ops.exchange.unified_topics import POSITIONS, positions_view

MARKED = (
    "markPrice",
    "markValue",
    "maintMargin",
    "realLeverage",
    "unrealisedPnl",
    "unrealisedRoePcnt",
    "unrealisedPnlPcnt",
    "delevPercentage",
    "currentTimestamp",
    "settleCurrency",
)
"""what moves with the mark price in a position"""
KEPT_DONE = 5_000
KEPT_IDS = 200_000


class Listing(Protocol):
    """What the account needs to know of the market."""

    symbols: tuple[str, ...]

    def index(self, wire: object) -> int:
        """Return the symbol of a wire name; raise RefusedError when there is none."""

    def check_open(self, k: int) -> None:
        """Raise RefusedError while the symbol does not trade."""

    def is_listed(self, k: int) -> bool:
        """Return whether the contract is still on the market."""

    def mark(self, k: int) -> float:
        """Return the mark price of a symbol as it is told, USDT."""

    def rate_at(self, k: int, ms: int) -> float:
        """Return the funding rate of a settlement."""


class Account:
    """One account of one key."""

    def __init__(self, exchange: FullExchange, listing: Listing, publish: news.Publish) -> None:
        self.exchange = exchange
        self.ledger = exchange.ledger
        self.listing = listing
        self.publish = publish
        self.statements = Statements()
        self.orders: dict[str, WireOrder] = {}
        """live and finished ones by order id, oldest first"""
        self.live: dict[str, WireOrder] = {}
        self.done: deque[str] = deque()
        self.order_ids: dict[str, str] = {}
        """clientOid -> order id, of every order there was, as far back as is remembered"""
        self.duplicates: deque[str] = deque(maxlen=1_000)
        self.tracks = [Track() for _ in exchange.specs]
        self.margin_modes = ["ISOLATED" for _ in exchange.specs]
        self.cross_leverage = [1.0 for _ in exchange.specs]
        self.hedged = False
        self.numbered = 0
        self.versions = 0
        self.changed: dict[int, str] = {}
        """symbols whose position has changed since the last news, and why"""
        self.wallet_changed = False

    def add(self, order: WireOrder) -> None:
        """Take an order in that has passed the door."""
        self.orders[order.order_id] = self.live[order.order_id] = order
        self.order_ids[order.client_oid] = order.order_id
        if len(self.order_ids) > KEPT_IDS:
            del self.order_ids[next(iter(self.order_ids))]

    def remember(self, order: WireOrder) -> None:
        """Keep an order that is over, as long as there is room."""
        del self.live[order.order_id]
        self.done.append(order.order_id)
        if len(self.done) > KEPT_DONE:
            del self.orders[self.done.popleft()]

    def find(self, order_id: str) -> WireOrder | None:
        """Return the order of this id, one on its way included."""
        return self.orders.get(order_id)

    def find_client(self, client_oid: str) -> WireOrder | None:
        """Return the order of this clientOid, one on its way included."""
        return self.orders.get(self.order_ids.get(client_oid, ""))

    def order_margin(self) -> float:
        """Return what live entries have reserved, USDT, for what they open beyond a position on the
        other side; a market order on its way reserves nothing."""
        return self._reserve(Closable(self.ledger.held))

    def _reserve(self, closable: Closable) -> float:
        """Return what `order_margin` does; what live entries would close is taken from
        `closable`."""
        entries = (o for o in self.live.values() if o.role is Role.ENTRY and o.may_trade)
        return sum((self._margin(o, o.left, o.price, closable) for o in entries), 0.0)

    def _margin(self, order: WireOrder, size: int, price: float, closable: Closable) -> float:
        opening = closable.opening(order.symbol, order.side, size)
        return opening * self.exchange.specs[order.symbol].multiplier * price / order.leverage

    def cost(self, order: WireOrder) -> float:
        """Return the margin that one more entry would need now, USDT."""
        closable = Closable(self.ledger.held)
        self._reserve(closable)
        price = order.price or self.exchange.last[order.symbol]
        return self._margin(order, order.size, price, closable)

    def available(self) -> float:
        """Return what is free for new orders, USDT."""
        return self.ledger.free_margin() - self.order_margin()

    def overview(self) -> dict[str, Any]:
        """Return `GET /api/v1/account-overview`; its sums hold (API reference 4.1)."""
        profit, tied = 0.0, 0.0
        for k, held in enumerate(self.ledger.held):
            if held.side != 0:
                profit += unrealised(held, self.ledger.marks[k], self.exchange.specs[k])
                tied += isolated_margin(held, self.exchange.specs[k])
        order_margin = self.order_margin()
        available = self.ledger.wallet - tied - order_margin
        return {
            "accountEquity": self.ledger.wallet + profit,
            "unrealisedPNL": profit,
            "marginBalance": self.ledger.wallet,
            "positionMargin": tied + profit,
            "orderMargin": order_margin,
            "frozenFunds": 0.0,
            "availableBalance": available,
            "currency": "USDT",
            "riskRatio": 0.0,
            "maxWithdrawAmount": max(0.0, available),
            "availableMargin": available,
        }

    def position(self, k: int, now: int) -> dict[str, Any]:
        """Return the position on symbol `k` in the wire's shape; the want of one has zeros."""
        view = position_view(
            k,
            self.listing.symbols[k],
            self.ledger,
            self.tracks[k],
            self.exchange.params,
            self.margin_modes[k],
            now,
        )
        return view | {"markPrice": self.listing.mark(k)}

    def deposit(self, amount: float, now: int) -> None:
        """Note the money that was there when the account was opened."""
        self.statements.book(now, "TransferIn", amount, amount, "Transferred from Funding Account")

    def move_margin(self, k: int, amount: float, now: int) -> None:
        """Tie up more in a position, or less (negative), USDT."""
        self.ledger.move_margin(k, amount)
        self.wallet_changed = True
        self.tell_position(k, now, "marginChange")

    def transfer(self, amount: float, now: int, remark: str) -> None:
        """Put money in or take it out (negative), USDT."""
        self.ledger.wallet += amount
        type_ = "TransferIn" if amount > 0.0 else "TransferOut"
        self.statements.book(now, type_, amount, self.ledger.equity(), remark)
        self.wallet_changed = True

    def tell(self, topic: str, subject: str, data: dict[str, Any]) -> None:
        """Publish to the owner of the account."""
        self.publish(topic, subject, data, private=True)

    def tell_position(self, k: int, now: int, reason: str) -> None:
        """Tell of a position, and why."""
        name = wire_symbol(self.listing.symbols[k])
        view = self.position(k, now)
        unified = positions_view(view, self.exchange.specs[k].maintenance_rate, now)
        self.tell(POSITIONS, f"{POSITIONS}.FUTURES", unified)
        data = view | {"changeReason": reason}
        del data["id"]
        self.tell(f"{news.POSITION}:{name}", "position.change", data)

    def tell_mark(self, k: int, now: int) -> None:
        """Tell what a mark price has made of a position; it has no symbol and no reason."""
        if self.ledger.held[k].side != 0:
            view = self.position(k, now)
            name = wire_symbol(self.listing.symbols[k])
            data = {key: view[key] for key in MARKED if key in view}
            self.tell(f"{news.POSITION}:{name}", "position.change", data)

    def tell_changes(self, now: int) -> None:
        """Tell of the positions and the wallet that have changed since the last time."""
        for k, reason in sorted(self.changed.items()):
            self.tell_position(k, now, reason)
        if self.changed or self.wallet_changed:
            self.versions += 1
            data = news.wallet_change(self.overview(), self.versions, now)
            self.tell(news.WALLET, "walletBalance.change", data)
        self.changed.clear()
        self.wallet_changed = False
