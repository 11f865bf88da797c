"""Kernel worlds and candle markets for tests, and the two ways to run one over the other.

Everything follows from its arguments and a seed. Times are int64 ms UTC, prices USDT.
"""

import dataclasses
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from bot.core.kernel.codes import EMA_CROSS, MOMENTUM, REVERSION, TREND
from bot.core.kernel.params import Params, Spec, Tier
from bot.core.kernel.records import Trade, World, new_world
from bot.core.kernel.replay import Tape, finish, replay

MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
FUNDING_INTERVAL = 8 * HOUR
START = 1_704_067_200_000  # 2024-01-01 00:00 UTC

ALL_STRATEGIES = (TREND, MOMENTUM, REVERSION)


class Candle(NamedTuple):
    """One bar, named by its open time."""

    time: int
    open: float
    high: float
    low: float
    close: float


class Market(NamedTuple):
    """Candles and settlements of some symbols: what a Tape is made from."""

    timeframe_ms: int
    candles: list[list[Candle]]
    funding: list[list[tuple[int, float]]]
    """[symbol] (time, rate) of each settlement"""


class Run(NamedTuple):
    """What a replay left behind."""

    trades: list[Trade]
    curve: list[float]
    world: World


def design_tiers() -> list[Tier]:
    """Return the balance table of DESIGN section 4."""
    return [
        Tier(floor=0.0, leverage=4.0, max_share=0.30, risk_share=0.010),
        Tier(floor=100.0, leverage=6.0, max_share=0.40, risk_share=0.015),
        Tier(floor=1_000.0, leverage=8.0, max_share=0.50, risk_share=0.020),
        Tier(floor=10_000.0, leverage=10.0, max_share=0.60, risk_share=0.025),
        Tier(
            floor=100_000.0, leverage=12.0, max_share=0.60, risk_share=0.030, max_notional=50_000.0
        ),
    ]


def make_spec(tick: float = 0.01, multiplier: float = 0.001, maintenance: float = 0.01) -> Spec:
    """Return a contract; the exact number of ticks per unit is found as `Spec` documents it."""
    per_unit = 0.0
    if tick > 0.0 and abs(1.0 / tick - round(1.0 / tick)) < 1e-6 and tick <= 1.0:
        per_unit = float(round(1.0 / tick))
    return Spec(
        multiplier=multiplier, tick=tick, ticks_per_unit=per_unit, maintenance_rate=maintenance
    )


def make_world(
    symbols: int = 1,
    *,
    params: Params | None = None,
    strategies: tuple[int, ...] = ALL_STRATEGIES,
    specs: list[Spec] | None = None,
    balance: float = 10_000.0,
    start_ms: int = START,
) -> World:
    """Return a World with DESIGN's numbers where nothing else is given."""
    return new_world(
        params if params is not None else Params(),
        design_tiers(),
        list(strategies),
        specs if specs is not None else [make_spec() for _ in range(symbols)],
        balance,
        start_ms,
    )


def reference_world(
    symbols: int = 1, *, balance: float = 10_000.0, timeframe_ms: int = HOUR, start_ms: int = START
) -> World:
    """Return a World in profile `reference` (DESIGN section 11): one fee, 2 bps, no grid."""
    params = Params(
        reference=1,
        use_indicators=0,
        timeframe_ms=timeframe_ms,
        maker_fee=0.0006,
        taker_fee=0.0006,
        slippage=0.0002,
    )
    specs = [Spec(multiplier=1.0, tick=0.0) for _ in range(symbols)]
    return new_world(params, design_tiers(), [EMA_CROSS], specs, balance, start_ms)


def bars_of(closes: list[float]) -> list[Candle]:
    """Return one hour for each close: it opens at the close before, its range is its body."""
    before = [closes[0], *closes[:-1]]
    return [
        Candle(START + i * HOUR, o, max(o, c), min(o, c), c)
        for i, (o, c) in enumerate(zip(before, closes, strict=True))
    ]


def market_of(*candles: list[Candle], timeframe_ms: int = HOUR) -> Market:
    """Return a market without funding from the candles of each symbol."""
    return Market(timeframe_ms, list(candles), [[] for _ in candles])


def make_tape(market: Market) -> Tape:
    """Return a fresh Tape at its beginning (a replay moves its cursors)."""
    flat = [candle for candles in market.candles for candle in candles]
    settled = [payment for payments in market.funding for payment in payments]
    first, funding_first = [0], [0]
    for candles, payments in zip(market.candles, market.funding, strict=True):
        first.append(first[-1] + len(candles))
        funding_first.append(funding_first[-1] + len(payments))
    return Tape(
        times=[c.time for c in flat],
        opens=[c.open for c in flat],
        highs=[c.high for c in flat],
        lows=[c.low for c in flat],
        closes=[c.close for c in flat],
        first=first,
        cursor=first[:-1],
        funding_times=[time for time, _ in settled],
        funding_rates=[rate for _, rate in settled],
        funding_first=funding_first,
        funding_cursor=funding_first[:-1],
    )


def first_cycle(market: Market) -> int:
    """Return the end of the market's first bar, ms: the time of cycle 0."""
    return min(c[0].time for c in market.candles if c) + market.timeframe_ms


def cycle_count(market: Market) -> int:
    """Return how many cycles reach from the market's first bar to its last."""
    last = max(c[-1].time for c in market.candles if c) + market.timeframe_ms
    return (last - first_cycle(market)) // market.timeframe_ms + 1


def _returns(rng: random.Random, bars: int, volatility: float) -> list[float]:
    """Return bar returns of changing drift and volatility, with rare shocks."""
    returns: list[float] = []
    while len(returns) < bars:
        drift = rng.gauss(0.0, 0.5 * volatility)
        scale = volatility * rng.choice((0.3, 1.0, 1.0, 2.5))
        for _ in range(rng.randint(10, 60)):
            shock = rng.gauss(0.0, 8.0 * volatility) if rng.random() < 0.004 else 0.0
            returns.append(drift + rng.gauss(0.0, scale) + shock)
    return returns[:bars]


def _walk(
    rng: random.Random, changes: list[float], start_ms: int, timeframe_ms: int, gaps: float
) -> list[Candle]:
    """Return the bars of one price path on a grid of cents; every bar may open with a gap."""
    candles = []
    price = 100.0
    for i, change in enumerate(changes):
        open_ = price
        if rng.random() < gaps:
            gap = rng.gauss(0.0, rng.choice((0.01, 0.03, 0.08)))
            open_ = price * (1.0 + max(min(gap, 0.15), -0.15))
        open_ = max(round(open_, 2), 1.0)
        close = max(round(open_ * (1.0 + max(min(change, 0.25), -0.2)), 2), 1.0)
        reach = abs(change) * 0.5 + 0.001
        high = round(max(open_, close) * (1.0 + reach * rng.random()), 2)
        low = round(min(open_, close) * (1.0 - reach * rng.random()), 2)
        candles.append(Candle(start_ms + i * timeframe_ms, open_, high, low, close))
        price = close
    return candles


def random_market(
    seed: int,
    symbols: int = 3,
    bars: int = 400,
    *,
    timeframe_ms: int = HOUR,
    volatility: float = 0.008,
    shared: float = 0.5,
    holes: float = 0.0,
    gaps: float = 0.0,
    late: bool = False,
    funding: bool = True,
    start_ms: int = START,
) -> Market:
    """Return random walks in changing regimes.

    Parameters
    ----------
    volatility : standard deviation of a bar's return in the ordinary regime, a fraction
    shared : weight of the factor that all symbols share, 0 (independent) to 1 (the same returns)
    holes, gaps : probability that a bar is missing, or opens away from the close before
    late : every symbol starts an eighth of the run after the one before
    """
    rng = random.Random(seed)
    common = _returns(rng, bars, volatility)
    market = Market(timeframe_ms, [], [])
    for k in range(symbols):
        own = _returns(rng, bars, volatility)
        mixed = [shared * c + (1.0 - shared) * o for c, o in zip(common, own, strict=True)]
        candles = _walk(rng, mixed, start_ms, timeframe_ms, gaps)[(k * bars // 8 if late else 0) :]
        market.candles.append(candles[:1] + [c for c in candles[1:] if rng.random() >= holes])
        end = start_ms + bars * timeframe_ms
        times = range(start_ms, end + 1, FUNDING_INTERVAL) if funding else range(0)
        market.funding.append([(time, rng.gauss(1e-4, 2e-4)) for time in times])
    return market


def run_plain(
    world: World, market: Market, *, room: int = 64, piece: int | None = None, close: bool = True
) -> Run:
    """Run the market in plain Python, `piece` cycles a call and `room` trades a buffer."""
    tape, first, cycles = make_tape(market), first_cycle(market), cycle_count(market)
    trades: list[Trade] = []
    curve = [0.0] * cycles
    cycle = 0
    while cycle < cycles:
        buffer = [Trade() for _ in range(room)]
        end = cycles if piece is None else min(cycle + piece, cycles)
        cycle, count = replay(world, tape, first, cycle, end, buffer, curve)
        trades += buffer[:count]
    if close:
        buffer = [Trade() for _ in range(room)]
        count = finish(world, first + (cycles - 1) * market.timeframe_ms, buffer)
        trades += buffer[:count]
    return Run(trades, curve, world)


def run_cycles(
    world: World, market: Market, cycles: int | None = None
) -> Iterator[tuple[int, list[Trade]]]:
    """Run the market one cycle at a time; yield the cycle's time and the trades it finished.

    `cycles` may go on after the market's last bar, or stop before it.
    """
    tape, first = make_tape(market), first_cycle(market)
    curve = [0.0] * (cycle_count(market) if cycles is None else cycles)
    for cycle in range(len(curve)):
        buffer = [Trade() for _ in range(2 * len(world.symbols))]
        _, count = replay(world, tape, first, cycle, cycle + 1, buffer, curve)
        yield first + cycle * market.timeframe_ms, buffer[:count]


def run_compiled(world: World, market: Market, *, room: int = 64, piece: int | None = None) -> Run:
    """Run the market through the compiled loop and read the state back into `world`."""
    import numpy as np

    from ops.research.compiled import compiled, read_back, record_array, to_arrays

    plain = make_tape(market)
    whole = {name: np.array(value, dtype=np.int64) for name, value in plain._asdict().items()}
    prices = ("opens", "highs", "lows", "closes", "funding_rates")
    floats = {name: np.array(getattr(plain, name), dtype=np.float64) for name in prices}
    columns: dict[str, Any] = whole | floats
    tape, arrays = Tape(**columns), to_arrays(world)
    first, cycles = first_cycle(market), cycle_count(market)
    buffer = record_array([Trade() for _ in range(room)])
    curve = np.zeros(cycles)
    trades: list[Trade] = []
    cycle = 0
    while cycle < cycles:
        end = cycles if piece is None else min(cycle + piece, cycles)
        cycle, count = compiled("replay")(arrays, tape, first, cycle, end, buffer, curve)
        trades += [Trade(*row) for row in buffer[:count].tolist()]
    count = compiled("finish")(arrays, first + (cycles - 1) * market.timeframe_ms, buffer)
    trades += [Trade(*row) for row in buffer[:count].tolist()]
    read_back(world, arrays)
    return Run(trades, curve.tolist(), world)


def state_text(world: World) -> list[str]:
    """Return the whole state, one line for each part, with every float exact (-0.0 is not 0.0)."""
    lines = []
    for name, value in world._asdict().items():
        parts: list[Any] = value if isinstance(value, list) else [value]
        rows = [p if isinstance(p, int | float) else dataclasses.astuple(p) for p in parts]
        lines += [f"{name}[{i}] {row!r}" for i, row in enumerate(rows)]
    return lines
