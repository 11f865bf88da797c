"""The live path measured: `core.step` in plain Python, ten symbols, over a real paper run.

An event is one call of `step`. A Cycle is one event, although it carries a bar of every symbol; the
mix also holds what follows from it: orders accepted, filled and cancelled, funding.
"""

import math
import time
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.adapters.journal import Journal
from bot.core.messages import Cycle, Effect, Event
from bot.core.state import State
from bot.core.step import step
from bot.shell.engine import Engine, Outcome
from bot.shell.paper import Source, new_engine, synthetic_source
from bot.sim.paper_market import PaperMarket
from ops.research.bench_backtest import LOOSE, PORTFOLIO_BALANCE, SYMBOLS
from ops.research.bench_runs import configured
from ops.research.bench_table import Budget, Row, Section, percentile, spread

SEED = 1


class TimedEngine(Engine):
    """The ordinary engine; it notes how long each Cycle takes until nothing is left to do."""

    def __init__(self, state: State, market: PaperMarket) -> None:
        super().__init__(state, market)
        self.market = market
        self.cycle_s: list[float] = []

    def feed(self, *events: Event) -> None:
        began = time.perf_counter()
        super().feed(*events)
        if any(isinstance(event, Cycle) for event in events):
            self.cycle_s.append(time.perf_counter() - began)


class PaperRun:
    """A paper run that can be repeated: its market is drawn and its events are known."""

    def __init__(self, bars: int) -> None:
        self.config = configured(SYMBOLS, "1m", f"balance={PORTFOLIO_BALANCE}", *LOOSE)
        self.source: Source = synthetic_source(self.config, self.config.timeframe_ms, SEED, bars)
        self.events: list[Event] = []
        engine = self.engine()
        engine.listener = self.note
        self.play(engine)
        self.digest = engine.state.digest()
        self.trades = len(engine.record.trades)

    def note(self, event: Event, _effects: list[Effect]) -> None:
        self.events.append(event)

    def engine(self) -> TimedEngine:
        """Return an engine that has seen the history and nothing of the run."""
        fresh, market = new_engine(self.config, self.source)
        return TimedEngine(fresh.state, market)

    def play(self, engine: TimedEngine) -> float:
        """Play all bars; return seconds, the drawing of the market included."""
        began = time.perf_counter()
        while (due := engine.market.next_ms()) is not None:
            engine.pump(due)
        return time.perf_counter() - began


def step_pass(run: PaperRun) -> tuple[list[float], bool]:
    """Feed the run's events to `step` alone: what the exchange answered is among them.

    Return the seconds of each event, and whether the state came out the same as in the run.
    """
    state = run.engine().state
    seconds = []
    for event in run.events:
        began = time.perf_counter()
        step(state, event)
        seconds.append(time.perf_counter() - began)
    return seconds, state.digest() == run.digest


def journal_pass(run: PaperRun) -> tuple[list[float], list[float]]:
    """Play the run with a durable journal; return the seconds of each commit and of each Cycle
    until its effects are out, commits included."""
    commits: list[float] = []
    engine = run.engine()
    with TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "journal.sqlite3")
        journal.begin_run("bench", 0, {}, engine.state)

        def commit(outcomes: Sequence[Outcome], state: State) -> bool:
            began = time.perf_counter()
            journal.commit(outcomes, state)
            commits.append(time.perf_counter() - began)
            return True

        engine.commit = commit
        run.play(engine)
        journal.close(clean=True)
    return commits, engine.cycle_s


def per_second(seconds: Sequence[float]) -> float:
    """Return thousands of events a second."""
    return len(seconds) / sum(seconds) / 1e3


def step_section(bars: int, rounds: int, say: Callable[[str], None]) -> Section:
    """Measure `step` by itself and inside the engine."""
    say(f"drawing a market of {bars} bars for ten symbols")
    run = PaperRun(bars)
    is_cycle = [isinstance(event, Cycle) for event in run.events]
    mix, alone, engine, p50, p99, same = [], [], [], [], [], True
    fastest = [math.inf] * len(run.events)
    for i in range(rounds + 1):
        say(f"round {i} of {rounds}: core.step, then the engine")
        seconds, equal = step_pass(run)
        timed = run.engine()
        engine_s = run.play(timed)
        same = same and equal and timed.state.digest() == run.digest
        if i == 0:  # warms up
            continue
        fastest = [min(pair) for pair in zip(fastest, seconds, strict=True)]
        mix.append(per_second(seconds))
        alone.append(per_second(list(compress(seconds, is_cycle))))
        engine.append(len(run.events) / engine_s / 1e3)
        p50.append(1e3 * percentile(timed.cycle_s, 0.5))
        p99.append(1e3 * percentile(timed.cycle_s, 0.99))
    commits, journaled = journal_pass(run)
    wrong = "" if same else "equal events led to another state"
    unit = "k events/s"
    about = f"{len(is_cycle):,} events: {sum(is_cycle):,} Cycles of ten bars, and what they led to"
    bars_s = f"{10.0 * spread(alone).median:.0f} k symbol-bars/s"
    quiet = per_second(fastest)
    quiet_alone = per_second(list(compress(fastest, is_cycle)))
    best = f"each event's fastest of {rounds} rounds; Cycles alone: {quiet_alone:.1f} {unit}"
    rows = [
        Row("core.step, every event", unit, spread(mix), Budget(30.0), about, wrong),
        Row("core.step, undisturbed", unit, spread([quiet]), None, best),
        Row("core.step, Cycles alone", unit, spread(alone), None, bars_s),
        Row(
            "whole engine, every event",
            unit,
            spread(engine),
            None,
            "step, exchange, checks; and the market is drawn",
        ),
        Row("a Cycle until its effects are out, p50", "ms", spread(p50), None, "in the engine"),
        Row(
            "a Cycle until its effects are out, p99",
            "ms",
            spread(p99),
            Budget(10.0, at_least=False),
            "in the engine, without a journal",
        ),
        Row("a durable commit, p50", "ms", spread([1e3 * percentile(commits, 0.5)]), None, ""),
        Row("a durable commit, p99", "ms", spread([1e3 * percentile(commits, 0.99)]), None, ""),
        Row(
            "a Cycle with its commits, p99",
            "ms",
            spread([1e3 * percentile(journaled, 0.99)]),
            Budget(10.0, at_least=False),
            f"{len(commits):,} commits; the network is not in it",
        ),
    ]
    return Section(f"step in plain Python, ten symbols, {run.trades:,} trades", rows)
