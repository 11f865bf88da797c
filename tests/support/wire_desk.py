"""A wire simulator without sockets: its handlers are called, its time is moved, prices are given.

One row of the market is one price in which it stands still for a minute; a row of two prices moves
from the first to the second.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from bot.core.market import Bar, ContractSpec, Row
from bot.core.messages import Event
from ops.exchange import door
from ops.exchange.auth import Credentials
from ops.exchange.calls import Call, Route
from ops.exchange.orders import WireOrder
from ops.exchange.refusal import RefusedError
from ops.exchange.server import FUTURES_ROUTES
from ops.exchange.source import Source
from ops.exchange.spot_api import ROUTES as SPOT_ROUTES
from ops.exchange.wire import Options, Wire

MINUTE = 60_000
START = 1_735_689_600_000  # 2025-01-01T00:00Z
KEY = Credentials("key-1", "secret-1", "passphrase-1")
COIN = ContractSpec("BTC-USDT-PERP", 1.0, 0.1, maintenance_rate=0.01, max_leverage=50.0)
OTHER = ContractSpec("ETH-USDT-PERP", 0.1, 0.01, maintenance_rate=0.01, max_leverage=50.0)
SYMBOL = "XBTUSDTM"
PAST = 5  # rows

type Price = float | tuple[float, float] | None


def bar(price: Price) -> Bar | None:
    """Return a bar that goes from one price to another, or stands still."""
    if price is None:
        return None
    first, last = price if isinstance(price, tuple) else (price, price)
    return Bar(first, max(first, last), min(first, last), last, 26.0)


def source(
    prices: Sequence[Price],
    others: Sequence[Price] | None = None,
    funding: Sequence[tuple[int, int, float]] = (),
) -> Source:
    """Return a market of one coin, or of two; funding is (symbol, ms, rate)."""
    columns = [prices, others] if others is not None else [prices]

    def rows() -> Iterator[Row]:
        for i, bars in enumerate(zip(*columns, strict=True)):
            open_ms = START + i * MINUTE
            due = tuple(f for f in funding if open_ms < f[1] <= open_ms + MINUTE)
            yield Row(open_ms, tuple(map(bar, bars)), due)

    contracts = (COIN, OTHER)[: len(columns)]
    symbols = tuple(contract.symbol for contract in contracts)
    return Source(symbols, contracts, MINUTE, START, rows, "test")


def options(market: Source, **changes: Any) -> Options:
    """Return what a simulator of a test is made of: no latency, stepped."""
    standard: dict[str, Any] = {"latency_ms": (0, 0), "depth": 100, "history": PAST}
    return Options(source=market, credentials=KEY, **(standard | changes))


class Desk:
    """A simulator in step mode; PAST rows of its prices are history, at the first price."""

    def __init__(self, *prices: Price, funding: Any = (), **changes: Any) -> None:
        first = prices[0]
        past = [first[0] if isinstance(first, tuple) else first] * PAST
        self.events: list[Event] = []
        self.said: list[tuple[str, str, dict[str, Any]]] = []
        """what was published: topic, subject, data"""
        self.wire = Wire(options(source([*past, *prices], None, funding), **changes), self.keep)
        self.wire.account.publish = self.hear
        self.numbered = 0

    def keep(self, event: Event) -> None:
        self.events.append(event)

    def hear(self, topic: str, subject: str, data: dict[str, Any], *, private: bool) -> None:
        assert private
        self.said.append((topic, subject, json.loads(json.dumps(data))))

    @property
    def now(self) -> int:
        return self.wire.now()

    def step(self, ms: int) -> None:
        """Let market time pass."""
        self.wire.clock.move(self.now + ms)  # type: ignore[union-attr]
        self.wire.catch_up()

    def bars(self, count: int = 1) -> None:
        """Go on to the end of the bar, and of those that follow."""
        end = (self.now // MINUTE + count) * MINUTE
        self.step(end - self.now)

    def place(self, **fields: Any) -> WireOrder:
        """Send an order: a market order to buy one contract, unless the fields say otherwise."""
        self.numbered += 1
        body = {
            "clientOid": f"o-{self.numbered}",
            "symbol": SYMBOL,
            "side": "buy",
            "type": "market",
            "leverage": 10,
            "size": 1,
        } | fields
        body = {key: value for key, value in body.items() if value is not None}
        return door.place(self.wire.account, body, self.wire.catch_up())

    def trade(self, **fields: Any) -> WireOrder:
        """Send an order and let it arrive."""
        order = self.place(**fields)
        self.step(0)
        return order

    def refused(self, **fields: Any) -> str:
        """Send an order that is refused; return the code."""
        try:
            self.place(**fields)
        except RefusedError as refusal:
            return refusal.code
        raise AssertionError("taken")

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Call a handler by its route; return the data that it answers with."""
        route = route_of(method, path)
        texts = {key: str(value) for key, value in params.items()}
        call = Call(texts, {} if body is None else body, self.wire.catch_up())
        return json.loads(json.dumps(route.handler(self.wire, call)))

    def told(self, topic: str) -> list[dict[str, Any]]:
        """Return what was published under a topic."""
        return [data for said, _, data in self.said if said == topic]

    def types(self, topic: str) -> list[str]:
        """Return the types of what was published under a topic."""
        return [data["type"] for data in self.told(topic)]


def route_of(method: str, path: str) -> Route:
    """Return a route by its method and the pattern of its path."""
    routes = [*FUTURES_ROUTES, *SPOT_ROUTES]
    return next(r for r in routes if (r.method, r.path) == (method, path))
