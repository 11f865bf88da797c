"""A core state that trades on command, and a person's words for what may happen to it.

The market stands at 100. With the momentum strategy tuned as below a rise of 1 % in one bar is a
signal to buy, and the account buys 10 contracts of one coin: small, round numbers to read.
"""

from typing import Any

from bot.core.kernel.codes import MOMENTUM, TAKER
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import fee
from bot.core.kernel.records import Position, Trade
from bot.core.market import Bar
from bot.core.messages import (
    CancelOrder,
    Command,
    Cycle,
    Effect,
    Event,
    Liquidated,
    Notice,
    Operator,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
    Tick,
    TradeClosed,
)
from bot.core.observations import Takeover
from bot.core.orders import Order, Status
from bot.core.state import State
from bot.core.step import step
from tests.support.worlds import START, make_world

NAMES = ("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP")
COIN = Spec(multiplier=1.0, tick=0.1, ticks_per_unit=10.0)
WARM = 3  # bars


def eager_params(**changes: Any) -> Params:
    """Return parameters under which one bar of 1 %, after a standstill, makes momentum enter."""
    numbers: dict[str, Any] = {"warmup_bars": WARM, "momentum_alpha": 0.2, "panic_ratio": 100.0}
    return Params(**(numbers | changes))


def make_state(symbols: int = 1, *, params: Params | None = None) -> State:
    """Return a fresh state over contracts of one coin, with momentum as its only strategy."""
    world = make_world(
        params=params if params is not None else eager_params(),
        strategies=(MOMENTUM,),
        specs=[COIN for _ in range(symbols)],
        balance=2_100.0,
    )
    return State(world=world, symbols=NAMES[:symbols], installation="t", now_ms=START)


class Desk:
    """Feeds a state what bars, an exchange and a person would; keeps what the state asked for."""

    def __init__(self, state: State | None = None, *, warm: bool = True) -> None:
        self.state = state if state is not None else make_state()
        self.effects: list[Effect] = []
        """everything so far"""
        self.close_ms = START
        """end of the last bar"""
        self.fills = 0
        if warm:
            for _ in range(WARM):
                self.bars(100.0)

    @property
    def now(self) -> int:
        return self.state.now_ms

    @property
    def position(self) -> Position:
        return self.state.world.positions[0]

    @property
    def trades(self) -> list[Trade]:
        return [effect.trade for effect in self.effects if isinstance(effect, TradeClosed)]

    def feed(self, event: Event) -> list[Effect]:
        """Take one event and return its effects."""
        effects = step(self.state, event)
        self.effects += effects
        return effects

    def bars(self, *closes: float) -> list[Effect]:
        """End a bar of every symbol; one close serves for all. Its range is its body."""
        world = self.state.world
        length = world.params.timeframe_ms
        self.close_ms = max(self.close_ms, self.now - self.now % length) + length
        bars = []
        for k, seen in enumerate(world.symbols):
            close = closes[k % len(closes)]
            before = seen.mark if seen.bars else close
            bars.append(Bar(before, max(before, close), min(before, close), close, 1.0))
        return self.feed(Cycle(self.close_ms, self.close_ms, tuple(bars)))

    def wait(self, seconds: int) -> list[Effect]:
        """Let time pass with a tick each second."""
        return [e for _ in range(seconds) for e in self.feed(Tick(self.now + 1_000))]

    def find(self, what: str, *statuses: Status) -> Order:
        """Return the oldest live order of a role (`stop`) or number (`#3`) in one of `statuses`."""
        for order in self.state.orders.values():
            named = what in (order.role.value, f"#{number(order.request.client_id)}")
            if named and order.live and (not statuses or order.status in statuses):
                return order
        raise AssertionError(f"no live {what} order among {list(self.state.orders.values())}")

    def accept(self, what: str) -> list[Effect]:
        """The exchange has the order."""
        waiting = self.find(what, Status.SENT, Status.CANCELLING)
        return self.feed(OrderAccepted(self.now, waiting.request.client_id))

    def reject(self, what: str, message: str = "busy") -> list[Effect]:
        """The exchange refuses the order."""
        waiting = self.find(what, Status.SENT, Status.CANCELLING)
        return self.feed(OrderRejected(self.now, waiting.request.client_id, message))

    def cancelled(self, what: str) -> list[Effect]:
        """The exchange has cancelled what was left of the order."""
        return self.feed(OrderCancelled(self.now, self.find(what).request.client_id))

    def fill(
        self, what: str, contracts: float, price: float, fill_id: str | None = None
    ) -> list[Effect]:
        """A part or all of the order trades, for the taker's fee."""
        order = self.find(what)
        self.fills += 1
        world = self.state.world
        paid = fee(contracts * world.specs[order.symbol].multiplier * price, TAKER, world.params)
        name = fill_id if fill_id is not None else f"f{self.fills}"
        client_id = order.request.client_id
        return self.feed(OrderFilled(self.now, client_id, name, contracts, price, paid))

    def liquidate(
        self, contracts: float, price: float, way: Takeover = Takeover.LIQUIDATION
    ) -> list[Effect]:
        """The exchange takes contracts of the first symbol over."""
        paid = fee(contracts * price, TAKER, self.state.world.params)
        return self.feed(Liquidated(self.now, 0, contracts, price, paid, way=way))

    def say(self, command: Command, reason: str, symbol: int = -1) -> list[Effect]:
        """A person's order."""
        return self.feed(Operator(self.now, command, reason, symbol))

    def signal_again(self) -> list[Effect]:
        """After the first signal, at 101: fall back and rise until there is another one."""
        self.bars(100.0)
        return self.bars(104.0)

    def enter(self) -> list[Effect]:
        """Let a bar of 1 % make an entry and the exchange fill and protect it in full."""
        self.bars(101.0)
        self.accept("entry")
        effects = self.fill("entry", 10.0, 101.1)
        self.accept("stop")
        self.accept("target")
        return effects


def number(client_id: str) -> int:
    """Return the sequence number in a client id of ours."""
    return int(client_id.split("-")[-2])


def placed(effects: list[Effect], role: Role | None = None) -> list[PlaceOrder]:
    """Return the orders to be sent, of one role or of all."""
    orders = [e for e in effects if isinstance(e, PlaceOrder)]
    return [order for order in orders if role is None or order.role is role]


def cancels(effects: list[Effect]) -> list[str]:
    """Return the client ids to be cancelled."""
    return [e.client_id for e in effects if isinstance(e, CancelOrder)]


def notices(effects: list[Effect], kind: str | None = None) -> list[Notice]:
    """Return what a person is told, of one kind or all."""
    told = [e for e in effects if isinstance(e, Notice)]
    return [notice for notice in told if kind is None or notice.kind == kind]
