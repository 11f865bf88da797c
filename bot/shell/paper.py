"""Paper trading: the market, the engine and the pace of time, put together."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from types import FrameType

from bot.core.kernel.records import World
from bot.core.market import ContractSpec, MarketData, Row
from bot.core.messages import History
from bot.core.state import State
from bot.core.summary import RunResult
from bot.shell.build import build_world
from bot.shell.config import Config
from bot.shell.engine import Engine
from bot.shell.terminal import Terminal
from bot.sim.exchange import BarExchange
from bot.sim.markets import MarketModel, SyntheticMarket

SYNTHETIC_START_MS = 1_735_689_600_000  # 2025-01-01T00:00Z: a run is repeated by its seed alone
INSTALLATION = "paper"
WARMUP_PERIODS = 10


@dataclass(frozen=True, slots=True)
class Source:
    """Where bars come from, and what is known about them."""

    symbols: tuple[str, ...]
    specs: tuple[ContractSpec, ...]
    rows: Iterator[Row]
    history: list[Row]
    """bars before the run, for the indicators only"""
    start_ms: int
    total: int | None
    """bar times in the run, None when it has no end"""
    funding_source: str
    spec_source: str
    label: str


def synthetic_source(config: Config, timeframe_ms: int, seed: int, bars: int | None) -> Source:
    """Return the embedded market: endless, or `bars` bar times long, after a warm-up history."""
    model = MarketModel(
        seed=seed,
        symbols=tuple(config.symbols),
        timeframe_ms=timeframe_ms,
        start_ms=SYNTHETIC_START_MS,
    )
    market = SyntheticMarket(model)
    rows = market.rows()
    history = list(islice(rows, warmup_rows(config)))
    return Source(
        symbols=tuple(config.symbols),
        specs=market.specs,
        rows=rows if bars is None else islice(rows, bars),
        history=history,
        start_ms=SYNTHETIC_START_MS + len(history) * timeframe_ms,
        total=bars,
        funding_source="synthetic",
        spec_source=market.spec_source,
        label=f"synthetic market, seed {seed}",
    )


def recorded_source(data: MarketData, label: str) -> Source:
    """Return recorded candles. Nothing before the period is read, so indicators start in it."""
    start = data.first_open_ms()
    return Source(
        symbols=data.symbols,
        specs=data.specs,
        rows=data.rows(),
        history=[],
        start_ms=start,
        total=(data.last_open_ms() - start) // data.timeframe_ms + 1,
        funding_source=data.funding_source,
        spec_source=data.spec_source,
        label=label,
    )


def warmup_rows(config: Config) -> int:
    """Return the bars an embedded market shows before trading starts: ten times the longest period.

    At one-minute bars these are 40 hours, enough hourly returns to measure correlations with.
    """
    return WARMUP_PERIODS * config.warmup_bars_in_use()


class Stop:
    """Turns SIGINT and SIGTERM into a flag, so that a run ends between two bars and cleans up."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Stop":
        self.previous = {s: signal.signal(s, self.ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    def wait_until(self, moment: float) -> None:
        """Sleep until `moment` on the monotonic clock, in pieces short enough to notice the
        flag."""
        while not self.asked and (left := moment - time.monotonic()) > 0.0:
            time.sleep(min(left, 0.1))


def new_engine(config: Config, source: Source) -> Engine:
    """Return an engine that has seen the source's history and nothing else."""
    world: World = build_world(config, source.specs, source.start_ms)
    exchange = BarExchange(world.params, world.specs, world.account.deposits)
    engine = Engine(State(world, source.symbols, INSTALLATION), exchange)
    for row in source.history:
        engine.feed(History(row.open_ms + world.params.timeframe_ms, row.bars))
    return engine


def run_paper(
    engine: Engine, source: Source, terminal: Terminal, speed: float | None, for_ms: int | None
) -> RunResult:
    """Trade `source` until it ends, `for_ms` of market time is over, or somebody stops it.

    `speed` is market seconds per second, None for virtual time. A run that reaches its end closes
    what is open; a run that is stopped leaves positions as they are, under their stops.
    """
    began = time.monotonic()
    timeframe_ms = engine.state.world.params.timeframe_ms
    engine.listener = terminal.show
    current = next(source.rows, None)
    with Stop() as stop:
        while current is not None and not stop.asked:
            elapsed_ms = current.open_ms + timeframe_ms - source.start_ms
            if for_ms is not None and elapsed_ms > for_ms:
                break
            if speed is not None:
                stop.wait_until(began + elapsed_ms / 1000.0 / speed)
                if stop.asked:
                    break
            following = next(source.rows, None)
            engine.run_bar(current, following)
            terminal.bar(engine)
            current = following
    terminal.stopped(stop.asked)
    if not stop.asked:
        engine.finish()
    return result_of(engine, source, time.monotonic() - began)


def result_of(engine: Engine, source: Source, elapsed_s: float) -> RunResult:
    """Return what the run amounts to, in the shape that backtests use too."""
    world, record = engine.state.world, engine.record
    return RunResult(
        bars=record.bars,
        elapsed_s=elapsed_s,
        trades=record.trades,
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
        daily=record.daily,
    )
