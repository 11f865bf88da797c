"""Backtest: recorded candles through `kernel.replay`, compiled for long runs and plain for short
ones."""

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bot.core.errors import InputError, InvariantError
from bot.core.kernel.records import Trade, World
from bot.core.kernel.replay import Tape, finish, replay
from bot.core.market import DAY_MS, MarketData
from bot.core.summary import RunResult
from bot.shell.build import build_world
from bot.shell.config import Config

PLAIN_BARS = 100_000  # up to here plain Python is done before Numba has been imported
CHUNK_CYCLES = 20_000  # compiled cycles between two looks at the progress bar
PLAIN_CHUNK_CYCLES = 500
TRADE_ROOM = 4_096  # trades kept in the loop's buffer until they are collected


@dataclass(frozen=True, slots=True)
class Backtest:
    """A finished backtest: the result that everybody sees and the equity at each cycle."""

    result: RunResult
    first_time: int
    curve: "array[float]"

    def points(self) -> list[tuple[int, float]]:
        """Return (cycle time, equity) pairs."""
        step = self.result.timeframe_ms
        return [(self.first_time + i * step, equity) for i, equity in enumerate(self.curve)]


def make_tape(data: MarketData) -> Tape:
    """Return the market as flat `array.array`s; symbol k owns [first[k], first[k + 1])."""
    times, funding_times = array("q"), array("q")
    opens, highs, lows, closes, rates = (array("d") for _ in range(5))
    first, funding_first = array("q", [0]), array("q", [0])
    for candles, funding in zip(data.candles, data.funding, strict=True):
        times.extend(candles.timestamp)
        opens.extend(candles.open)
        highs.extend(candles.high)
        lows.extend(candles.low)
        closes.extend(candles.close)
        funding_times.extend(funding.timestamp)
        rates.extend(funding.rate)
        first.append(len(times))
        funding_first.append(len(funding_times))
    return Tape(
        times=times,  # type: ignore[arg-type]  # an array serves where the loop reads a list
        opens=opens,  # type: ignore[arg-type]
        highs=highs,  # type: ignore[arg-type]
        lows=lows,  # type: ignore[arg-type]
        closes=closes,  # type: ignore[arg-type]
        first=first,  # type: ignore[arg-type]
        cursor=first[:-1],  # type: ignore[arg-type]
        funding_times=funding_times,  # type: ignore[arg-type]
        funding_rates=rates,  # type: ignore[arg-type]
        funding_first=funding_first,  # type: ignore[arg-type]
        funding_cursor=funding_first[:-1],  # type: ignore[arg-type]
    )


class PlainLoop:
    """`kernel.replay` as it stands: no Numba, no NumPy."""

    chunk = PLAIN_CHUNK_CYCLES

    def __init__(self, world: World, tape: Tape, cycles: int) -> None:
        self.world, self.tape = world, tape
        self.curve = array("d", bytes(8 * cycles))
        self.buffer = [Trade() for _ in range(max(TRADE_ROOM, 4 * len(world.specs)))]

    def run(self, first_time: int, begin: int, end: int) -> tuple[int, list[Trade]]:
        curve: Any = self.curve
        done, count = replay(self.world, self.tape, first_time, begin, end, self.buffer, curve)
        return done, self.take(count)

    def finish(self, time_ms: int) -> list[Trade]:
        return self.take(finish(self.world, time_ms, self.buffer))

    def take(self, count: int) -> list[Trade]:
        taken = self.buffer[:count]
        self.buffer[:count] = [Trade() for _ in range(count)]
        return taken


class CompiledLoop:
    """The same functions, compiled by Numba."""

    chunk = CHUNK_CYCLES

    def __init__(self, world: World, tape: Tape, cycles: int) -> None:
        from ops.research import compiled

        self.tools = compiled
        self.world = world
        self.arrays = compiled.to_arrays(world)
        self.tape = Tape(*(compiled.plain_array(column) for column in tape))  # type: ignore[arg-type]
        self.curve = array("d", bytes(8 * cycles))
        self.view = compiled.plain_array(self.curve)
        room = max(TRADE_ROOM, 4 * len(world.specs))
        self.buffer = compiled.record_array([Trade() for _ in range(room)])

    def run(self, first_time: int, begin: int, end: int) -> tuple[int, list[Trade]]:
        loop = self.tools.compiled("replay")
        done, count = loop(self.arrays, self.tape, first_time, begin, end, self.buffer, self.view)
        return done, self.take(count)

    def finish(self, time_ms: int) -> list[Trade]:
        trades = self.take(self.tools.compiled("finish")(self.arrays, time_ms, self.buffer))
        self.tools.read_back(self.world, self.arrays)
        return trades

    def take(self, count: int) -> list[Trade]:
        return [Trade(*row) for row in self.buffer[:count].tolist()]


def choose_loop(engine: str, bars: int) -> type[PlainLoop] | type[CompiledLoop]:
    """Return the loop for `engine` (auto, plain, compiled); auto goes by the number of bars.

    Raises
    ------
    InputError : `compiled` was asked for and Numba is not installed
    """
    if engine == "plain" or (engine == "auto" and bars <= PLAIN_BARS):
        return PlainLoop
    from ops.research.compiled import available

    if not available():
        if engine == "auto":
            return PlainLoop
        raise InputError("engine: compiled needs Numba, which is not installed here")
    return CompiledLoop


def run_backtest(
    config: Config,
    data: MarketData,
    engine: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """Run one backtest over all of `data`.

    Parameters
    ----------
    engine : `auto`, `plain` or `compiled`; all three give the same result in every bit
    progress : called with (cycles done, cycles in all)

    Raises
    ------
    InvariantError : the two accounting paths differ; the result would be worthless
    """
    began = time.perf_counter()
    start = data.first_open_ms()
    cycles = (data.last_open_ms() - start) // data.timeframe_ms + 1
    world = build_world(config, data.specs, start)
    loop = choose_loop(engine, data.bars())(world, make_tape(data), cycles)
    first_time = start + data.timeframe_ms
    trades: list[Trade] = []
    done = 0
    while done < cycles:
        done, fresh = loop.run(first_time, done, min(done + loop.chunk, cycles))
        trades += fresh
        if progress is not None:
            progress(done, cycles)
    last_time = first_time + (cycles - 1) * data.timeframe_ms
    trades += loop.finish(last_time)
    account = world.account
    if account.identity_error > 1.0:
        raise InvariantError(f"accounting paths differ by {account.identity_error:.3g} tolerances")
    # Bars lie on the grid of their timeframe, and that divides the day.
    midnight = -first_time % DAY_MS // data.timeframe_ms
    daily = [
        (first_time + i * data.timeframe_ms, loop.curve[i])
        for i in range(midnight, cycles, DAY_MS // data.timeframe_ms)
    ]
    result = RunResult(
        bars=data.bars(),
        elapsed_s=time.perf_counter() - began,
        trades=trades,
        symbols=data.symbols,
        halted_at=account.killed_at or None,
        funding_source=data.funding_source,
        spec_source=data.spec_source,
        start_ms=start,
        end_ms=last_time,
        timeframe_ms=data.timeframe_ms,
        deposits=account.deposits,
        final_equity=account.equity,
        account=account,
        daily=daily,
    )
    return Backtest(result, first_time, loop.curve)
