"""The project's side of the benchmark: markets to run on, and one timed pass of each loop.

The markets are seeded random walks made by NumPy: the project's own generator draws prices that
look like real ones, but some 20,000 bars a second, too slow for millions. The loops do not mind:
time goes into bars, signals and trades, and every row says how many of them there were.
"""

import json
import time
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bot.core.kernel.records import Trade
from bot.core.market import (
    FUNDING_INTERVAL_MS,
    Candles,
    ContractSpec,
    Funding,
    MarketData,
    parse_timeframe,
)
from bot.shell.build import build_world
from bot.shell.config import Config, load_config
from ops.research.backtest import CompiledLoop, PlainLoop, make_tape, run_backtest
from ops.research.bench_table import NotMeasuredError, Outcome
from ops.research.compiled import available

SEED = 1
START_MS = 1_577_836_800_000  # 2020-01-01
TICK_DIGITS = 4
SHARED = 0.8  # part of a move that all symbols share: returns correlate by 0.64


def walk(
    symbols: Sequence[str], timeframe: str, bars: int, deviation: float, funding: bool
) -> MarketData:
    """Return a seeded random walk from 100 USDT; `deviation` is that of a bar's log return.

    Symbol k is the same whatever symbols follow it, and bar i whatever bars follow it.
    """
    step_ms = parse_timeframe(timeframe)
    times = START_MS + step_ms * np.arange(bars, dtype=np.int64)
    shared = np.random.default_rng([SEED, 0]).standard_normal(bars)
    candles, settled = [], []
    for k, symbol in enumerate(symbols):
        own, up, down = (np.random.default_rng([SEED, k + 1, part]) for part in range(3))
        noise = SHARED * shared + (1.0 - SHARED**2) ** 0.5 * own.standard_normal(bars)
        close = 100.0 * np.exp(np.cumsum(deviation * noise))
        open_ = np.concatenate(([100.0], close[:-1]))
        high = np.maximum(open_, close) * (1.0 + 0.5 * deviation * up.exponential(size=bars))
        low = np.minimum(open_, close) * (1.0 - 0.5 * deviation * down.exponential(size=bars))
        opens, highs, lows, closes = (
            _doubles(np.round(column, TICK_DIGITS)) for column in (open_, high, low, close)
        )
        volumes = _doubles(np.ones(bars))
        candles.append(Candles(symbol, _integers(times), opens, highs, lows, closes, volumes))
        due = times[times % FUNDING_INTERVAL_MS == 0] if funding else times[:0]
        settled.append(Funding(symbol, _integers(due), _doubles(np.full(len(due), 0.0001))))
    return MarketData(
        timeframe_ms=step_ms,
        symbols=tuple(symbols),
        candles=tuple(candles),
        funding=tuple(settled),
        specs=tuple(ContractSpec(symbol, 0.01, 10.0**-TICK_DIGITS) for symbol in symbols),
        funding_source="assumed",
        spec_source="assumed",
    )


def _doubles(column: npt.NDArray[np.float64]) -> "array[float]":
    return array("d", column.tobytes())


def _integers(column: npt.NDArray[np.int64]) -> "array[int]":
    return array("q", column.tobytes())


def configured(symbols: Sequence[str], timeframe: str, *sets: str) -> Config:
    """Return the default configuration with these symbols, this timeframe and these settings."""
    return load_config(None, [f"symbols={json.dumps(symbols)}", f"timeframe={timeframe}", *sets])


class TimedLoop(CompiledLoop):
    """The ordinary compiled loop; it knows how long it spent on making `Trade` objects."""

    collecting_s = 0.0

    def take(self, count: int) -> list[Trade]:
        began = time.perf_counter()
        trades = super().take(count)
        self.collecting_s += time.perf_counter() - began
        return trades


def replay_pass(config: Config, data: MarketData, compiled: bool) -> Outcome:
    """Run the kernel over a market that has all its bars; time the loop and nothing around it.

    Raises
    ------
    NotMeasuredError : Numba is not installed
    """
    if compiled and not available():
        raise NotMeasuredError("Numba is not installed")
    start, cycles = data.first_open_ms(), len(data.candles[0])
    world, tape = build_world(config, data.specs, start), make_tape(data)
    loop = TimedLoop(world, tape, cycles) if compiled else PlainLoop(world, tape, cycles)
    first_time = start + data.timeframe_ms
    trades: list[Trade] = []
    done = 0
    began = time.perf_counter()
    while done < cycles:
        done, fresh = loop.run(first_time, done, min(done + loop.chunk, cycles))
        trades += fresh
    trades += loop.finish(start + cycles * data.timeframe_ms)
    seconds = time.perf_counter() - began
    if isinstance(loop, TimedLoop):
        seconds -= loop.collecting_s
    return Outcome(seconds, len(trades), world.account.equity)


def backtest_pass(config: Config, data: MarketData) -> Outcome:
    """Run what `radops backtest` runs, from candles in memory to the result; time all of it.

    Raises
    ------
    NotMeasuredError : Numba is not installed
    """
    if not available():
        raise NotMeasuredError("Numba is not installed")
    began = time.perf_counter()
    result = run_backtest(config, data, "compiled").result
    return Outcome(time.perf_counter() - began, len(result.trades), result.final_equity)
