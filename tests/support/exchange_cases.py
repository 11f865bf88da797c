"""Orders and accounts for tests of the simulated exchange: ten contracts of one coin around 100."""

from dataclasses import replace

from bot.core.kernel.params import Params, Spec
from bot.core.market import Bar, Row
from bot.core.messages import Event, OrderFilled, PlaceOrder, Role
from bot.sim.tick_exchange import TickExchange
from bot.sim.ticks import Quote
from tests.support.worlds import HOUR, START

# One contract is one coin; fees 0.02 % and 0.06 %, slippage 0.1 %, so that at 100 it is one tick.
PARAMS = Params(slippage=0.001, timeframe_ms=HOUR)
COIN = Spec(multiplier=1.0, tick=0.1, ticks_per_unit=10.0, maintenance_rate=0.01)
BALANCE = 1_000.0

BUY = PlaceOrder("1-entry", 0, Role.ENTRY, 1, 10.0, 101.0, 10.0)
EXIT = PlaceOrder("2-exit", 0, Role.EXIT, -1, 10.0, 0.0, 10.0)
STOP = PlaceOrder("3-stop", 0, Role.STOP, -1, 10.0, 98.0, 10.0)
TARGET = PlaceOrder("4-target", 0, Role.TARGET, -1, 10.0, 104.0, 10.0)
SHORT = replace(BUY, side=-1, price=99.0)
T = START + HOUR

REFUSALS = [
    (replace(BUY, contracts=2.5), "whole number"),
    (replace(BUY, contracts=0.5), "whole number"),
    (replace(BUY, price=101.05), "tick size"),
    (replace(BUY, contracts=100.0), "balance insufficient"),
    (EXIT, "no open position"),
    (STOP, "no open position"),
    (TARGET, "no open position"),
]
"""what the exchange does not take from an account without a position, and a part of its answer"""


def mirrored(order: PlaceOrder) -> PlaceOrder:
    """Return the order of a short position that this is of a long one."""
    return replace(order, side=-order.side, price=200.0 - order.price if order.price else 0.0)


def filled(events: list[Event]) -> list[tuple[str, float, float]]:
    """Return (client id, contracts, price) of each fill."""
    return [(e.client_id, e.contracts, e.price) for e in events if isinstance(e, OrderFilled)]


def row(*bars: Bar | None, funding: tuple[tuple[int, int, float], ...] = ()) -> Row:
    """Return the bars that end at T, by symbol."""
    return Row(START, bars, funding)


def flat_bar(price: float) -> Bar:
    """Return a bar in which the price stood still."""
    return Bar(price, price, price, price, 1.0)


def tick_exchange(
    *, depth: int = 100, latency_ms: tuple[int, int] = (0, 0), seed: int = 1, at: float = 100.0
) -> TickExchange:
    """Return an empty account in a market that stands at `at`, at time T."""
    exchange = TickExchange(PARAMS, [COIN], BALANCE, seed=seed, latency_ms=latency_ms, depth=depth)
    return moved(exchange, T, at)


def moved(exchange: TickExchange, ms: int, last: float, mark: float = 0.0) -> TickExchange:
    """Plan a quote; the mark is the last price where none is given."""
    exchange.load([Quote(ms, 0, last, mark or last)])
    return exchange
