"""The backtest measured: ema_cross beside its peers, the portfolio and its growth, compiling."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bot.core.market import MarketData
from bot.shell.config import Config
from bot.sim.market_model import COINS
from ops.research.backtest import run_backtest
from ops.research.bench_peers import CLoop, VectorBt, plain_loop, write_market
from ops.research.bench_runs import backtest_pass, configured, replay_pass, walk
from ops.research.bench_table import (
    Budget,
    Contest,
    NotMeasuredError,
    Outcome,
    Row,
    Section,
    growth_exponent,
    number,
    spread,
)
from ops.research.compiled import available

ROOT = Path(__file__).parents[2]
SYMBOLS = tuple(f"{coin}-USDT-PERP" for coin in COINS)  # ten
BALANCE = 10_000.0
# Of 10,000 USDT a losing strategy soon leaves too little to trade; with this much every position
# has the same largest size, 50,000 USDT, to the last bar.
PORTFOLIO_BALANCE = 10_000_000.0
LOOSE = ("risk.daily_loss_limit=0.99", "risk.drawdown_limit=0.99", "risk.fast_drawdown_limit=0.99")
LINEAR = Budget(1.1, at_least=False)  # a growth exponent up to this is linear, noise included
UNIT = "M bars/s"
FIRST_RUN = "from ops.research.bench_backtest import first_run; print(first_run())"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    bars: int
    """of ema_cross"""
    slice_bars: int
    """what the slow ones get of them"""
    portfolio_bars: int
    """of each symbol, at 1x"""
    rounds: int


FULL = Sizes(bars=1_000_000, slice_bars=100_000, portfolio_bars=50_000, rounds=7)
QUICK = Sizes(bars=20_000, slice_bars=2_000, portfolio_bars=500, rounds=2)

LOOP, WHOLE, KERNEL = "compiled loop", "run_backtest", "kernel in plain Python"
C_LOOP, VECTORBT, PLAIN = "C loop", "vectorbt", "plain Python loop"


def ema_cross_section(
    sizes: Sizes, peer_python: str | None, say: Callable[[str], None]
) -> tuple[Section, str]:
    """Measure ema_cross on one symbol; return the rows and which vectorbt took part."""
    config = configured(SYMBOLS[:1], "1m", "strategies=[ema_cross]", f"balance={BALANCE}")
    data = walk(SYMBOLS[:1], "1m", sizes.bars, 0.0006, funding=False)
    cut = walk(SYMBOLS[:1], "1m", sizes.slice_bars, 0.0006, funding=False)
    contest = Contest(sizes.rounds, say)
    version = "none"
    with ExitStack() as cleanup:
        file = Path(cleanup.enter_context(tempfile.TemporaryDirectory())) / "market.bin"
        write_market(file, data.candles[0])

        def vectorbt() -> Callable[[], Outcome]:
            nonlocal version
            if peer_python is None:
                raise NotMeasuredError("no interpreter with vectorbt was given (--peer-python)")
            peer = VectorBt(peer_python, file, sizes.bars, BALANCE)
            cleanup.callback(peer.close)
            version = f"{peer.hello['version']} with numba {peer.hello['numba']}"
            return peer.run

        contest.enter(LOOP, sizes.bars, ready(replay_pass, config, data, True))
        contest.enter(C_LOOP, sizes.bars, lambda: CLoop(file, sizes.bars, BALANCE).run)
        contest.enter(VECTORBT, sizes.bars, vectorbt)
        contest.enter(WHOLE, sizes.bars, ready(backtest_pass, config, data))
        contest.enter(KERNEL, sizes.slice_bars, ready(replay_pass, config, cut, False))
        contest.enter(PLAIN, sizes.slice_bars, ready(plain_loop, cut.candles[0], BALANCE))
        contest.race()
    return Section(f"ema_cross, one symbol, {sizes.bars:,} bars of 1m", race_rows(contest)), version


def race_rows(contest: Contest) -> list[Row]:
    """Return speeds and ratios of the race; whoever trades differently has failed."""
    return [
        contest.row(LOOP, UNIT, Budget(15.0), contest.disagreement(WHOLE, LOOP)),
        contest.row(WHOLE, UNIT, wrong=contest.disagreement(LOOP, WHOLE)),
        contest.row(C_LOOP, UNIT, wrong=contest.disagreement(LOOP, C_LOOP)),
        contest.row(VECTORBT, UNIT),
        contest.row(KERNEL, UNIT, wrong=contest.disagreement(PLAIN, KERNEL)),
        contest.row(PLAIN, UNIT, wrong=contest.disagreement(KERNEL, PLAIN)),
        contest.ratio(LOOP, VECTORBT, Budget(5.0)),
        contest.ratio(WHOLE, VECTORBT),
        contest.ratio(LOOP, C_LOOP),
        contest.ratio(LOOP, PLAIN),
        contest.ratio(KERNEL, PLAIN),
    ]


def portfolio(symbols: int, bars: int) -> tuple[Config, MarketData]:
    """Return a configuration that keeps trading, and a market for it."""
    names = SYMBOLS[:symbols]
    config = configured(names, "1h", f"balance={PORTFOLIO_BALANCE}", *LOOSE)
    return config, walk(names, "1h", bars, 0.006, funding=True)


def portfolio_section(sizes: Sizes, say: Callable[[str], None]) -> Section:
    """Measure all strategies on ten symbols, and how the time grows with bars and symbols."""
    contest = Contest(sizes.rounds, say)
    most, longest = len(SYMBOLS), 4 * sizes.portfolio_bars
    by_bars = [(most, factor * sizes.portfolio_bars) for factor in (1, 2, 4)]
    by_symbols = [(symbols, longest) for symbols in (1, 2, 5, most)]
    for symbols, bars in sorted({*by_bars, *by_symbols}):
        run = ready(replay_pass, *portfolio(symbols, bars), True)
        contest.enter(size_name(symbols, bars), symbols * bars, run)
    config, data = portfolio(most, longest)
    contest.enter(WHOLE, most * longest, ready(backtest_pass, config, data))
    contest.race()
    biggest = size_name(most, longest)
    wrong = contest.disagreement(WHOLE, biggest)
    if WHOLE not in contest.missing and run_backtest(config, data, "compiled").result.halted_at:
        wrong = "trading stopped before the bars did"
    rows = [
        replace(contest.row(biggest, UNIT, Budget(5.0), wrong), name=f"portfolio, {LOOP}"),
        replace(contest.row(WHOLE, UNIT), name=f"portfolio, {WHOLE}"),
        growth_row(contest, "growth with bars, exponent", by_bars),
        growth_row(contest, "growth with symbols, exponent", by_symbols),
    ]
    return Section("portfolio: three strategies, 1h bars, funding, limits; symbol-bars", rows)


def size_name(symbols: int, bars: int) -> str:
    """Return the name of a market of this size."""
    return f"{symbols} x {bars:,} bars"


def growth_row(contest: Contest, name: str, markets: Sequence[tuple[int, int]]) -> Row:
    """Return the exponent with which the time grows over these (symbols, bars)."""
    names = [size_name(symbols, bars) for symbols, bars in markets]
    sizes = [float(symbols * bars) for symbols, bars in markets]
    for one in names:
        if one in contest.missing:
            return Row(name, "", None, LINEAR, contest.missing[one])
    exponents = [
        growth_exponent(sizes, [size / speed for size, speed in zip(sizes, speeds, strict=True)])
        for speeds in zip(*(contest.speeds[one] for one in names), strict=True)
    ]
    costs = ", ".join(number(1e3 / spread(contest.speeds[one]).median) for one in names)
    remark = f"{names[0]} .. {names[-1]}: {costs} ns a symbol-bar"
    return Row(name, "", spread(exponents), LINEAR, remark)


def ready(run: Callable[..., Outcome], *args: object) -> Callable[[], Callable[[], Outcome]]:
    """Return what `Contest.enter` prepares a run by, for one that needs no preparation."""
    return lambda: partial(run, *args)


def first_run() -> float:
    """Return the seconds that the first backtest of a process takes, a tiny one."""
    config, data = portfolio(1, 500)
    began = time.perf_counter()
    replay_pass(config, data, True)
    return time.perf_counter() - began


def compile_section(quick: bool, say: Callable[[str], None]) -> Section:
    """Measure the first run of a fresh process: with an empty compile cache, then with its own."""
    names = ("first run, nothing cached", "first run, from the cache")
    remark = "imports Numba, compiles or loads, runs 500 bars"
    if quick or not available():
        reason = "not in a quick run" if quick else "Numba is not installed"
        return Section("compiling", [Row(name, "s", None, remark=reason) for name in names])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "RADBOT_CACHE_DIR": folder}
        for name in names:
            say(name)
            done = subprocess.run(
                [sys.executable, "-c", FIRST_RUN],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            rows.append(Row(name, "s", spread([float(done.stdout)]), remark=remark))
    return Section("compiling", rows)
