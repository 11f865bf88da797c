"""Everything that the listeners share: market, account, clock, sockets, faults, limits.

Rules of this file: time passes here and nowhere else. Before a request is handled, the market is
played up to now; with a stepped clock, `advance` alone plays it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bot.core.errors import InputError
from bot.core.kernel.params import Params
from bot.core.messages import Event
from bot.shell.config_schema import Costs
from bot.sim.ticks import MARK_PULL
from ops.exchange import answers
from ops.exchange.account import Account
from ops.exchange.auth import Credentials, Rights
from ops.exchange.clock import Clock, SteppedClock, make_clock
from ops.exchange.faults import Faults
from ops.exchange.limits import Limits
from ops.exchange.market import Market, Setting
from ops.exchange.market_news import MarketNews
from ops.exchange.sockets import Hub
from ops.exchange.source import Source

BASIS_POINTS = 1e4
MOST_BALANCE = 1e15  # USDT
ROWS_AT_ONCE = 20  # of a long advance, before others get a turn


@dataclass(frozen=True, slots=True)
class Options:
    """What a simulator is made of. Ports of 0 are free ones; without a speed time is stepped."""

    source: Source
    credentials: Credentials
    futures_port: int = 0
    spot_port: int = 0
    control_port: int = 0
    history: int = 3_000
    seed: int = 1
    balance: float = 10_000.0
    speed: float | None = None
    latency_ms: tuple[int, int] = (5, 40)
    depth: int = 10_000
    steps: int = 4
    mark_pull: float = MARK_PULL

    def setting(self) -> Setting:
        return Setting(
            self.balance,
            self.seed,
            self.latency_ms,
            self.depth,
            self.history,
            self.steps,
            self.mark_pull,
        )


def exchange_params(timeframe_ms: int) -> Params:
    """Return fees and slippage as the configuration's defaults have them; the latency that paper
    puts into the price is real here."""
    costs = Costs()
    return Params(
        timeframe_ms=timeframe_ms,
        maker_fee=costs.maker_fee,
        taker_fee=costs.taker_fee,
        slippage=(costs.spread_bps / 2 + costs.slippage_bps) / BASIS_POINTS,
    )


class Wire:
    """One simulator without its listeners. `market` and `account` are new after `reset`."""

    market: Market
    account: Account
    clock: Clock

    def __init__(self, options: Options, on_event: Callable[[Event], None]) -> None:
        self.options = options
        self.on_event = on_event
        self.on_over: Callable[[], None] = lambda: None
        """called once in a life, when the source has no more rows"""
        self.faults = Faults(options.seed)
        self.hub = Hub(self.faults, self.now, seed=options.seed)
        self.limits = Limits()
        self.requests: Counter[str] = Counter()
        self.account_mode = "CLASSIC"
        self.rights = Rights()
        self.endpoint = ""
        """where sockets connect"""
        self.turn = asyncio.Lock()
        self.begin(options.setting())

    def begin(self, setting: Setting) -> None:
        """Begin a life: a new account on the same market."""
        market = Market(
            self.options.source, exchange_params(self.options.source.timeframe_ms), setting
        )
        self.setting = setting
        self.market = market
        self.over = False
        self.account = Account(market.exchange, market, self.hub.publish)
        self.hub.contracts = market.wire.keys()
        self.news = MarketNews(market, self.hub)
        market.on_trigger = partial(answers.triggered, self.account)
        market.on_quote = self.news.quoted
        self.news.on_mark = self.account.tell_mark
        self.clock = make_clock(market.start_ms, self.options.speed)
        self.account.deposit(setting.balance, market.start_ms)

    async def reset(self, wanted: dict[str, Any]) -> None:
        """Begin a life with other numbers; faults and counters are as at the start."""
        async with self.turn:
            self.begin(read_setting(self.setting, wanted))
            self.faults.clear()
            self.limits = Limits()
            self.hub.connects.clear()
            self.requests.clear()
            self.account_mode, self.rights = "CLASSIC", Rights()

    def now(self) -> int:
        """Return the market time of this moment, ms."""
        return self.clock.now()

    def exchange_now(self) -> int:
        """Return what the exchange's clock shows: market time, and the skew that is in force."""
        return self.now() + self.faults.skew_ms

    def clocks(self) -> tuple[int, int]:
        """Return by which times a request may be stamped, ms: the exchange's clock, and this
        host's, which a client goes by that never asks for the time. On KuCoin they are the same."""
        return self.exchange_now(), int(time.time() * 1000) + self.faults.skew_ms

    def catch_up(self) -> int:
        """Play the market up to now; return the time."""
        now = max(self.clock.now(), self.market.exchange.now_ms)
        for event in self.market.play(now):
            answers.take(self.account, event)
            self.on_event(event)
        self.account.tell_changes(now)
        self.news.caught_up(now)
        if self.market.current is None and not self.over:
            self.over = True
            self.on_over()
        return now

    async def advance(self, to_ms: int) -> int:
        """Move a stepped clock to `to_ms`, not faster than sockets read; return the time.

        Raises
        ------
        InputError : time runs by itself, or would run backwards
        """
        if not isinstance(self.clock, SteppedClock):
            raise InputError("advance: time runs by itself; start with --speed step")
        async with self.turn:
            if to_ms < self.clock.now():
                raise InputError(f"advance: expected a time from {self.clock.now()}, was {to_ms}")
            while self.clock.now() < to_ms:
                self.clock.move(min(to_ms, self.clock.now() + self.stride()))
                self.catch_up()
                await self.hub.until_read()
                await asyncio.sleep(0)
            return self.catch_up()

    def stride(self) -> int:
        """Return how much of a long advance is played at once, ms."""
        if self.news.listened():
            return self.market.quote_ms  # a quote may be a hundred frames
        return ROWS_AT_ONCE * self.market.timeframe_ms


def read_setting(setting: Setting, wanted: dict[str, Any]) -> Setting:
    """Return a setting with the numbers of a reset; raise InputError when they make no sense."""
    known = {"balance", "seed", "skip", "latency_ms", "depth"}
    for key in wanted:
        if key not in known:
            raise InputError(f"reset: expected only {', '.join(sorted(known))}, was {key!r}")
    for key in {"seed", "skip", "depth"} & wanted.keys():
        if type(wanted[key]) is not int:
            raise InputError(f"reset: {key}: expected a whole number, was {wanted[key]!r}")
    balance, history = wanted.get("balance", setting.balance), wanted.get("skip", setting.history)
    if type(balance) not in (int, float) or not 0.0 <= balance < MOST_BALANCE:
        raise InputError(f"reset: balance: expected 0 or more USDT, was {balance!r}")
    if history < 0:
        raise InputError(f"reset: skip: expected 0 or more, was {history}")
    latency = wanted.get("latency_ms", setting.latency_ms)
    if type(latency) is int:
        latency = (latency, latency)
    pair = isinstance(latency, list | tuple) and len(latency) == 2
    if not pair or not all(type(ms) is int for ms in latency):
        raise InputError(f"reset: latency_ms: expected [least, most], was {latency!r}")
    return replace(
        setting,
        balance=float(balance),
        seed=wanted.get("seed", setting.seed),
        history=history,
        depth=wanted.get("depth", setting.depth),
        latency_ms=(latency[0], latency[1]),
    )
