"""The reference strategy against a hand-written loop, trade by trade (DESIGN section 11).

The loop below knows one symbol, one position and one list of bars. It shares nothing with the
kernel. Where DESIGN is silent it takes these conventions: the entry is sized at its fill, on the
equity that the reversed position left; a signal on the last bar is not filled; what happens inside
a bar is stamped with the end of the bar; an order waits for the next bar there is.
"""

import csv
import gzip
import random
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.kernel.codes import REASON_NAMES
from tests.support.worlds import (
    HOUR,
    START,
    Candle,
    Run,
    bars_of,
    market_of,
    random_market,
    reference_world,
    run_plain,
)

REAL_DATA = Path(__file__).parents[3] / "shared" / "data" / "binance-perp"
FEE, SLIPPAGE, SHARE, STOP, TARGET = 0.0006, 0.0002, 0.30, 0.02, 0.04
FIRST_SIGNAL = 48


class RoundTrip(NamedTuple):
    entry_time: int
    exit_time: int
    side: int
    reason: str
    quantity: float
    entry_price: float
    exit_price: float
    fees: float
    pnl: float


class Open(NamedTuple):
    time: int
    side: int
    price: float
    quantity: float


def enter(bar: Candle, side: int, cash: float) -> Open:
    price = bar.open * (1.0 + side * SLIPPAGE)
    return Open(bar.time, side, price, SHARE * cash / price)


def leave(held: Open, time: int, price: float, reason: str) -> RoundTrip:
    fees = FEE * held.quantity * held.price + FEE * held.quantity * price
    pnl = held.side * (price - held.price) * held.quantity - fees
    return RoundTrip(
        held.time, time, held.side, reason, held.quantity, held.price, price, fees, pnl
    )


def level_hit(held: Open, bar: Candle) -> tuple[str, float] | None:
    """Return which level the bar hits and the price paid: the stop first, gaps at the open."""
    stop = held.price * (1.0 - held.side * STOP)
    target = held.price * (1.0 + held.side * TARGET)
    if held.side > 0:
        if bar.low <= stop:
            return "stop", min(stop, bar.open) * (1.0 - SLIPPAGE)
        if bar.high >= target:
            return "target", max(target, bar.open)
    else:
        if bar.high >= stop:
            return "stop", max(stop, bar.open) * (1.0 + SLIPPAGE)
        if bar.low <= target:
            return "target", min(target, bar.open)
    return None


def hand_written(bars: list[Candle], balance: float, bar_ms: int) -> tuple[list[RoundTrip], float]:
    """Return the trades of ema_cross over the bars and the money at the end."""
    done: list[RoundTrip] = []
    cash = balance
    held: Open | None = None
    wanted = 0
    fast = slow = bars[0].close
    difference = 0.0
    for t, bar in enumerate(bars):
        if wanted:
            if held is not None:
                done.append(
                    leave(held, bar.time, bar.open * (1.0 - held.side * SLIPPAGE), "reversal")
                )
                cash += done[-1].pnl
            held = enter(bar, wanted, cash)
            wanted = 0
        if held is not None:
            hit = level_hit(held, bar)
            if hit is not None:
                done.append(leave(held, bar.time + bar_ms, hit[1], hit[0]))
                cash += done[-1].pnl
                held = None
        before = difference
        fast += 2.0 / 13.0 * (bar.close - fast)
        slow += 2.0 / 49.0 * (bar.close - slow)
        difference = fast - slow
        if t >= FIRST_SIGNAL:
            crossed = 1 if before <= 0.0 < difference else -1 if before >= 0.0 > difference else 0
            if crossed and (held is None or held.side != crossed):
                wanted = crossed
    if held is not None:
        price = bars[-1].close * (1.0 - held.side * SLIPPAGE)
        done.append(leave(held, bars[-1].time + bar_ms, price, "end"))
        cash += done[-1].pnl
    return done, cash


def kernel_trades(run: Run) -> list[RoundTrip]:
    return [
        RoundTrip(
            t.entry_time,
            t.exit_time,
            t.side,
            REASON_NAMES[t.reason],
            t.quantity,
            t.entry_price,
            t.exit_price,
            t.fees,
            t.pnl,
        )
        for t in run.trades
    ]


def assert_same(bars: list[Candle], balance: float = 10_000.0, bar_ms: int = HOUR) -> int:
    """Assert that kernel and loop trade alike; return how many trades they made."""
    expected, cash = hand_written(bars, balance, bar_ms)
    world = reference_world(balance=balance, timeframe_ms=bar_ms, start_ms=bars[0].time)
    run = run_plain(world, market_of(bars, timeframe_ms=bar_ms))
    found = kernel_trades(run)
    for kernel, loop in zip(found, expected, strict=False):
        assert kernel[:4] == loop[:4]
        assert kernel[4:8] == pytest.approx(loop[4:8], rel=1e-9)
        # A profit near zero is the difference of two large values.
        assert kernel.pnl == pytest.approx(loop.pnl, rel=1e-9, abs=1e-9 * balance)
        assert kernel.pnl == pytest.approx(
            kernel.side * (kernel.exit_price - kernel.entry_price) * kernel.quantity - kernel.fees,
            rel=1e-9,
            abs=1e-9 * balance,
        )
    assert len(found) == len(expected)
    assert run.world.account.equity == pytest.approx(cash, rel=1e-9)
    return len(found)


def made_of(segments: list[tuple[str, int, float]], seed: int, digits: int) -> list[Candle]:
    """Return bars from segments (kind, length, size): walk, flat, ramp, gap or hole."""
    rng = random.Random(seed)
    bars: list[Candle] = []
    time, price = START, 100.0
    for kind, length, size in segments:
        if kind == "hole" and bars:
            time += length * HOUR
            continue
        for i in range(length):
            open_ = price
            if kind == "gap" and i == 0:
                open_ = price * (1.0 + 2.0 * size)
            moved = {"walk": rng.gauss(0.0, abs(size) / 3.0), "ramp": size / 8.0}.get(kind, 0.0)
            close = round(max(open_ * (1.0 + moved), 1.0), digits)
            open_ = round(open_, digits)
            reach = abs(moved) * rng.random()
            high = round(max(open_, close) * (1.0 + reach), digits)
            low = round(min(open_, close) * (1.0 - reach), digits)
            bars.append(Candle(time, open_, high, low, close))
            time, price = time + HOUR, close
    return bars or bars_of([100.0])


SEGMENT = st.tuples(
    st.sampled_from(["walk", "walk", "ramp", "flat", "gap", "hole"]),
    st.integers(1, 60),
    st.floats(-0.08, 0.08),
)


@settings(max_examples=150)
@given(
    segments=st.lists(SEGMENT, min_size=3, max_size=14),
    seed=st.integers(0, 2**32),
    digits=st.sampled_from([0, 1, 2, 6]),
)
def test_every_trade_is_that_of_the_hand_written_loop(
    segments: list[tuple[str, int, float]], seed: int, digits: int
) -> None:
    assert_same(made_of(segments, seed, digits))


@pytest.mark.parametrize("seed", range(6))
def test_seeded_walks_with_gaps_and_holes(seed: int) -> None:
    market = random_market(seed, 1, 2_500, gaps=0.05, holes=0.02, volatility=0.01, funding=False)
    assert assert_same(market.candles[0], balance=250.0 * (seed + 1)) > 30


def test_seeded_walk_of_one_minute_bars() -> None:
    market = random_market(
        77, 1, 4_000, timeframe_ms=60_000, volatility=0.002, gaps=0.01, funding=False
    )
    assert assert_same(market.candles[0], bar_ms=60_000) > 40


def test_the_first_signal_is_bar_48() -> None:
    """The average crosses on bar 48: a jump there is traded at 49, one bar earlier it is missed."""
    late = bars_of([100.0] * 48 + [101.0, 101.0, 101.0])
    early = bars_of([100.0] * 47 + [101.0, 101.0, 101.0, 101.0])
    run = run_plain(reference_world(), market_of(late))
    assert [(t.entry_time, t.side) for t in run.trades] == [(START + 49 * HOUR, 1)]
    assert run_plain(reference_world(), market_of(early)).trades == []


def test_a_signal_on_the_last_bar_is_not_filled() -> None:
    bars = bars_of([100.0] * 48 + [101.0])
    assert run_plain(reference_world(), market_of(bars)).trades == []


def reversal_market() -> tuple[list[Candle], int]:
    """Return bars with one reversal, and the index of the bar that fills it."""
    bars = bars_of([100.0] * 48 + [100.5] * 3 + [99.5] * 12)
    first = hand_written(bars, 10_000.0, HOUR)[0][0]
    assert first.reason == "reversal"
    return bars, next(i for i, bar in enumerate(bars) if bar.time == first.exit_time)


def test_a_reversal_signal_on_the_last_bar_ends_as_end() -> None:
    """When data ends, positions close with reason `end` (DESIGN section 11)."""
    bars, fill = reversal_market()
    assert assert_same(bars) == 2
    assert assert_same(bars[:fill]) == 1


def test_a_pending_reversal_waits_over_a_hole() -> None:
    bars, fill = reversal_market()
    holed = bars[:fill] + bars[fill + 3 :]
    assert assert_same(holed) == 2
    trades = run_plain(reference_world(), market_of(holed)).trades
    assert trades[0].exit_time == trades[1].entry_time == bars[fill + 3].time


def read_bars(path: Path) -> list[Candle]:
    with gzip.open(path, "rt") as lines:
        return [
            Candle(int(row[0]), float(row[1]), float(row[2]), float(row[3]), float(row[4]))
            for row in list(csv.reader(lines))[1:]
        ]


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "XRP"])
def test_real_hours(symbol: str) -> None:
    path = REAL_DATA / f"{symbol}-USDT-PERP-1h.csv.gz"
    if not path.exists():
        pytest.skip(f"NOT RUN ON REAL DATA: {path.name} is not in {path.parent}")
    assert assert_same(read_bars(path)) > 1_000
