"""L2 (DESIGN section 3): the trades of a live bot beside those of paper on the same market.

Rules of this file: what the exchange says of its fills is the truth about when and at what price;
why a trade was left is the bot's word. Prices are all in which latency lets the two differ. So each
price is explained by the quote that stood when the order traded, and paper that is given the prices
live got must come out the same: every contract, every cent.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import Any, NamedTuple

from bot.core.kernel.codes import REASON_NAMES, SIDE_NAMES, STRATEGY_NAMES
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.prices import market_price
from bot.core.kernel.records import Trade
from bot.core.market import ContractSpec, Row
from bot.core.messages import History, OrderFilled, PlaceOrder, Role
from bot.core.state import State
from bot.shell.build import build_world, to_spec
from bot.shell.config import Config
from bot.shell.engine import Engine
from bot.sim.exchange import BarExchange
from bot.sim.paper_market import PaperMarket
from bot.sim.records import Records
from bot.sim.ticks import QuotePath
from ops.exchange.wire import exchange_params

QUOTES = 60
"""of each leg of a bar's way (`radops exchange --quotes`): the finer, the less a stop slips"""
INSIDE = ("stop", "target", "liquidation")
"""what happens in the middle of a bar; all else happens between two"""
NOISE = 1e-12
"""share of a price: that of a trade is a mean of its fills, and made of sums"""
MONEY = 1e-6
"""USDT; KuCoin tells fees to 8 places"""

type Plain = dict[str, Any]


class Fill(NamedTuple):
    """A trade at the exchange, as its own books have it."""

    symbol: str
    role: str
    side: int
    ms: int
    price: float


class Deal(NamedTuple):
    """One round trip, by the bars in which it began and ended."""

    entered: int
    symbol: str
    strategy: str
    side: str
    reason: str
    left: int
    contracts: float
    entry_price: float
    exit_price: float
    pnl: float

    @property
    def decision(self) -> tuple[object, ...]:
        """Return what must be equal whatever the prices were."""
        return self[:6]


def bar_of(ms: int, length: int, what: str) -> int:
    """Return the number of the bar of a fill. At the instant between two bars, what happens inside
    a bar belongs to the one that ends, what was decided to the one that begins."""
    return (ms - (what in INSIDE)) // length


def deal(trade: Plain, length: int, entered_ms: int, left_ms: int) -> Deal:
    """Return a trade, in the words of the trades file, that happened at these times."""
    reason = str(trade["reason"])
    return Deal(
        bar_of(entered_ms, length, "entry"),
        str(trade["symbol"]),
        str(trade["strategy"]),
        str(trade["side"]),
        reason,
        bar_of(left_ms, length, reason),
        float(trade["contracts"]),
        float(trade["entry_price"]),
        float(trade["exit_price"]),
        float(trade["pnl"]),
    )


# Paper.


def paper_deals(trades: Sequence[Plain], length: int) -> list[Deal]:
    """Return what paper traded."""
    return sorted(deal(t, length, int(t["entry_time"]), int(t["exit_time"])) for t in trades)


def in_words(trades: Sequence[Trade], symbols: Sequence[str]) -> list[Plain]:
    """Return trades in the words of the trades file, as far as a deal needs them."""
    return [
        {
            "entry_time": trade.entry_time,
            "exit_time": trade.exit_time,
            "symbol": symbols[trade.symbol],
            "strategy": STRATEGY_NAMES[trade.strategy],
            "side": SIDE_NAMES[trade.side],
            "reason": REASON_NAMES[trade.reason],
            "contracts": trade.contracts,
            "entry_price": trade.entry_price,
            "exit_price": trade.exit_price,
            "pnl": trade.pnl,
        }
        for trade in trades
    ]


class Use(NamedTuple):
    """A fill of paper at a price of somebody else."""

    role: Role
    symbol: int
    bar: int
    own: float
    """what paper would have got"""
    price: float


@dataclass
class Given:
    """The prices that somebody else got, and what was made of them."""

    prices: Mapping[tuple[str, bool, int], float] = field(default_factory=dict)
    """by symbol, whether it is an entry, and bar"""
    uses: list[Use] = field(default_factory=list)


class GivenExchange(BarExchange):
    """Paper's exchange, trading at given prices where there are any."""

    def __init__(
        self, params: Params, specs: list[Spec], deposits: float, names: Sequence[str], given: Given
    ) -> None:
        super().__init__(params, specs, deposits)
        self.names, self.given = names, given

    def fill(
        self, order: PlaceOrder, contracts: float, price: float, liquidity: int, now: int
    ) -> OrderFilled:
        bar = bar_of(now, self.params.timeframe_ms, order.role.value)
        key = self.names[order.symbol], order.role is Role.ENTRY, bar
        theirs = self.given.prices.get(key, price)
        self.given.uses.append(Use(order.role, order.symbol, bar, price, theirs))
        return super().fill(order, contracts, theirs, liquidity, now)


class Ground(NamedTuple):
    """What both trade on."""

    config: Config
    contracts: tuple[ContractSpec, ...]
    past: Sequence[Row]
    """bars that are shown before the first decision"""
    coming: Sequence[Row]

    @property
    def length(self) -> int:
        return self.config.timeframe_ms

    @property
    def specs(self) -> list[Spec]:
        return [to_spec(contract, False) for contract in self.contracts]


def on_paper(ground: Ground, given: Given | None = None) -> list[Deal]:
    """Return what paper trades there, at the prices that are given."""
    config, names = ground.config, ground.config.symbols
    if given is not None:  # what paper adds to a price for latency is in these
        costs = config.costs.model_copy(update={"latency_bps": 0.0})
        config = config.model_copy(update={"costs": costs})
    world = build_world(config, ground.contracts, ground.coming[0].open_ms)
    params, specs = world.params, world.specs
    market = PaperMarket(params, specs, config.balance, iter(ground.coming))
    if given is not None:
        market.exchange = GivenExchange(params, specs, config.balance, names, given)
        market.records = Records(market.exchange.book)
    engine = Engine(State(world, names, "paper"), market)
    for row in ground.past:
        engine.feed(History(row.open_ms + ground.length, row.bars))
    while (due := market.next_ms()) is not None:
        engine.pump(due)
    return paper_deals(in_words(engine.record.trades, names), ground.length)


# Live.


def fills_of(truth: Plain) -> list[Fill]:
    """Return what the exchange says has traded, oldest first."""
    fills = [
        Fill(
            one["symbol"],
            one["client_id"].rpartition("-")[2],
            one["side"],
            one["ms"],
            one["price"],
        )
        for one in truth["fills"]
    ]
    return sorted(fills, key=lambda one: one.ms)


def live_deals(trades: Sequence[Plain], fills: Sequence[Fill], length: int) -> list[Deal]:
    """Return what live traded: each trade with the two fills that made it."""
    of_symbol: dict[str, Iterator[Fill]] = {
        name: iter([one for one in fills if one.symbol == name])
        for name in {one.symbol for one in fills}
    }
    deals = []
    for trade in sorted(trades, key=lambda trade: int(trade["exit_time"])):
        entry, leave = next(of_symbol[trade["symbol"]]), next(of_symbol[trade["symbol"]])
        role = trade["reason"] if trade["reason"] in INSIDE else "exit"
        assert (entry.role, leave.role) == ("entry", role), (entry, leave, trade)
        assert isclose(entry.price, trade["entry_price"], rel_tol=NOISE), (entry, trade)
        assert isclose(leave.price, trade["exit_price"], rel_tol=NOISE), (leave, trade)
        exact = {"entry_price": entry.price, "exit_price": leave.price}
        deals.append(deal({**trade, **exact}, length, entry.ms, leave.ms))
    return sorted(deals)


# The comparison.


class Worst(NamedTuple):
    """The furthest that live and paper were apart."""

    entry_bps: float
    exit_bps: float
    contracts: float
    """share"""
    wait_s: float
    """from a bar's end until what was decided then had traded, market time"""

    def numbers(self) -> dict[str, int]:
        """Return the figures as counts have them, in thousandths."""
        return {f"worst_milli_{name}": round(1e3 * it) for name, it in self._asdict().items()}


def check(
    ground: Ground, paper: Sequence[Deal], live: Sequence[Deal], fills: Sequence[Fill]
) -> Worst:
    """Compare live with paper; return how far apart they were where they may be."""
    assert [one.decision for one in live] == [one.decision for one in paper]
    first = live[0].entered
    for ours, theirs in zip(live, paper, strict=True):  # equity is the deposit at first
        assert ours.entered > first or ours.contracts == theirs.contracts, (ours, theirs)
    check_prices(ground, fills)
    check_money(ground, live)
    pairs = list(zip(live, paper, strict=True))
    return Worst(
        max(1e4 * abs(a.entry_price / b.entry_price - 1.0) for a, b in pairs),
        max(1e4 * abs(a.exit_price / b.exit_price - 1.0) for a, b in pairs),
        max(abs(a.contracts / b.contracts - 1.0) for a, b in pairs),
        max(waits(fills, ground.length)) / 1e3,
    )


def check_prices(ground: Ground, fills: Sequence[Fill]) -> None:
    """See that each market order got the price of the quote that stood when it traded, with spread
    and slippage; only in what that quote is does latency show."""
    times: dict[int, list[int]] = defaultdict(list)
    lasts: dict[int, list[float]] = defaultdict(list)
    path = QuotePath(ground.specs, ground.length, QUOTES)
    for row in ground.coming:
        for quote in path.quotes(row):
            times[quote.symbol].append(quote.ms)
            lasts[quote.symbol].append(quote.last)
    params = exchange_params(ground.length)
    for one in fills:
        k = ground.config.symbols.index(one.symbol)
        last = lasts[k][bisect_right(times[k], one.ms) - 1]
        price = market_price(last, one.side, params, ground.specs[k])
        assert one.role == "target" or one.price == price, (one, last)


def check_money(ground: Ground, live: Sequence[Deal]) -> None:
    """Compare with paper at the prices live got: nothing is left in which the two may differ. What
    waited at a level must have traded there: a target at its own price, a stop at the first quote
    beyond, which is one step of the price's way at most, and a tick of rounding on each side."""
    entries = {(one.symbol, True, one.entered): one.entry_price for one in live}
    given = Given(entries | {(one.symbol, False, one.left): one.exit_price for one in live})
    paper = [one for one in on_paper(ground, given) if one.left <= max(d.left for d in live)]
    assert len(live) <= len(paper)
    for ours, theirs in zip(live, paper, strict=False):
        assert ours[:7] == theirs[:7], (ours, theirs)
        assert abs(ours.pnl - theirs.pnl) < MONEY, (ours, theirs)
    bars = {row.open_ms // ground.length: row.bars for row in ground.coming}
    for use in given.uses:
        bar, room = bars[use.bar][use.symbol], 0.0
        if use.role is Role.STOP and bar is not None:
            room = (bar.high - bar.low) / QUOTES + 2.0 * ground.specs[use.symbol].tick
        if use.role in (Role.STOP, Role.TARGET):
            assert abs(use.price - use.own) <= room, use


def waits(fills: Sequence[Fill], length: int) -> list[int]:
    """Return how long after its bar's end each thing traded that was decided then, ms."""
    return [one.ms % length for one in fills if one.role in ("entry", "exit")]


def entries(fills: Sequence[Fill], length: int, end: int) -> list[tuple[int, str, str]]:
    """Return (bar, symbol, side) of what was entered before bar `end`, whatever became of it."""
    found = [(bar_of(one.ms, length, one.role), one) for one in fills if one.role == "entry"]
    sides = {1: "long", -1: "short"}
    return sorted((bar, one.symbol, sides[one.side]) for bar, one in found if bar < end)
