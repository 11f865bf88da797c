"""Paper trading in virtual time: the market, the engine and a summary, in memory.

A run that lasts (real time, or with a state directory) is the daemon's: bot/shell/daemon.py.
"""

import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from bot.core.kernel.accounting import mark_equity
from bot.core.kernel.records import Trade, World
from bot.core.market import ContractSpec, MarketData, Row
from bot.core.messages import Finish, History
from bot.core.state import State
from bot.core.summary import RunResult
from bot.shell.build import build_world
from bot.shell.config import Config
from bot.shell.engine import Engine
from bot.shell.stop import Stop
from bot.shell.terminal import Terminal
from bot.sim.markets import MarketModel, MarketStream, SyntheticMarket
from bot.sim.paper_market import PaperMarket

SYNTHETIC_START_MS = 1_735_689_600_000  # 2025-01-01T00:00Z: a run is repeated by its seed alone
INSTALLATION = "paper"
WARMUP_PERIODS = 10


@dataclass(frozen=True, slots=True)
class Source:
    """Where bars come from, and what is known about them."""

    symbols: tuple[str, ...]
    specs: tuple[ContractSpec, ...]
    stream: Callable[[], Iterator[Row]]
    """the market's rows from the start of the run"""
    history: list[Row]
    """bars before the run, for the indicators only"""
    start_ms: int
    total: int | None
    """bar times in the run, None when it has no end"""
    funding_source: str
    spec_source: str
    label: str
    identity: dict[str, object]
    """what makes it this market; a state directory belongs to one"""


def synthetic_source(config: Config, timeframe_ms: int, seed: int, bars: int | None) -> Source:
    """Return the embedded market: endless, or `bars` bar times long, after a warm-up history."""
    model = MarketModel(
        seed=seed,
        symbols=tuple(config.symbols),
        timeframe_ms=timeframe_ms,
        start_ms=SYNTHETIC_START_MS,
    )
    market = SyntheticMarket(model)
    warmup = warmup_rows(config)
    drawn = market.rows()
    history = list(islice(drawn, warmup))
    begun = pickle.dumps(drawn)  # whoever begins anew does not draw the warm-up again

    def stream() -> Iterator[Row]:
        rows: MarketStream = pickle.loads(begun)
        return rows if bars is None else islice(rows, bars)

    return Source(
        symbols=tuple(config.symbols),
        specs=market.specs,
        stream=stream,
        history=history,
        start_ms=SYNTHETIC_START_MS + len(history) * timeframe_ms,
        total=bars,
        funding_source="synthetic",
        spec_source="synthetic",
        label=f"synthetic market, seed {seed}",
        identity={
            "market": "synthetic",
            "symbols": list(config.symbols),
            "timeframe_ms": timeframe_ms,
            "seed": seed,
            "history": warmup,
        },
    )


def recorded_source(data: MarketData, label: str) -> Source:
    """Return recorded candles. Nothing before the period is read, so indicators start in it."""
    start = data.first_open_ms()
    return Source(
        symbols=data.symbols,
        specs=data.specs,
        stream=data.rows,
        history=[],
        start_ms=start,
        total=(data.last_open_ms() - start) // data.timeframe_ms + 1,
        funding_source=data.funding_source,
        spec_source=data.spec_source,
        label=label,
        identity={
            "market": "replay",
            "symbols": list(data.symbols),
            "timeframe_ms": data.timeframe_ms,
            "start_ms": start,
        },
    )


def kucoin_source(config: Config) -> Source:
    """Return KuCoin's public market, as far as it is known before anybody was asked."""
    return Source(
        symbols=config.symbols,
        specs=(),
        stream=lambda: iter(()),
        history=[],
        start_ms=0,
        total=None,
        funding_source="exchange",
        spec_source="exchange",
        label=f"public data of {config.exchange.futures_url}",
        identity={
            "market": "kucoin",
            "symbols": list(config.symbols),
            "timeframe_ms": config.timeframe_ms,
            "futures_url": config.exchange.futures_url,
        },
    )


def warmup_rows(config: Config) -> int:
    """Return the bars an embedded market shows before trading starts: ten times the longest period.

    At one-minute bars these are 40 hours, enough hourly returns to measure correlations with.
    """
    return WARMUP_PERIODS * config.warmup_bars_in_use()


def new_engine(config: Config, source: Source) -> tuple[Engine, PaperMarket]:
    """Return an engine that has seen the source's history and nothing else, and its market."""
    world: World = build_world(config, source.specs, source.start_ms)
    market = PaperMarket(world.params, world.specs, world.account.deposits, source.stream())
    engine = Engine(State(world, source.symbols, INSTALLATION), market)
    for row in source.history:
        engine.feed(History(row.open_ms + world.params.timeframe_ms, row.bars))
    return engine, market


def run_paper(
    engine: Engine,
    market: PaperMarket,
    source: Source,
    terminal: Terminal,
    for_ms: int | None = None,
) -> RunResult:
    """Trade `source` in virtual time until it ends, `for_ms` is over, or somebody stops it.

    A run that reaches its end closes what is open; a run that is stopped leaves positions as they
    are, under their stops.
    """
    began = time.monotonic()
    engine.listener = terminal.show
    with Stop() as stop:
        while (due := market.next_ms()) is not None and not stop.asked:
            if for_ms is not None and due - source.start_ms > for_ms:
                break
            engine.pump(due)
            terminal.bar(engine)
    terminal.stopped(stop.asked)
    if not stop.asked:
        finish(engine, market)
    record = engine.record
    return result_of(engine, source, time.monotonic() - began, record.trades, record.daily)


def finish(engine: Engine, market: PaperMarket) -> None:
    """End a run: close what is open at the last marks."""
    now = engine.state.now_ms
    engine.feed(Finish(now))
    market.close_market()
    engine.pump(now)
    equity = mark_equity(engine.state.world)
    engine.state.check_invariants()
    market.check_equity(equity)


def result_of(
    engine: Engine,
    source: Source,
    elapsed_s: float,
    trades: list[Trade],
    daily: list[tuple[int, float]],
) -> RunResult:
    """Return what the account's life amounts to, in the shape that backtests use too."""
    world = engine.state.world
    return RunResult(
        bars=engine.record.bars,
        elapsed_s=elapsed_s,
        trades=trades,
        symbols=source.symbols,
        halted_at=world.account.killed_at or None,
        funding_source=source.funding_source,
        spec_source=source.spec_source,
        start_ms=source.start_ms,
        end_ms=engine.state.now_ms or source.start_ms,
        timeframe_ms=world.params.timeframe_ms,
        deposits=world.account.deposits,
        final_equity=world.account.equity,
        account=world.account,
        daily=daily,
    )
