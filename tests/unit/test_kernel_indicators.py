"""Indicators against their textbook definitions, recomputed from the whole history."""

import math
import random
from itertools import pairwise

import pytest

from bot.core.kernel.codes import PANIC, RANGE, TRENDING
from bot.core.kernel.decide import see_bar
from bot.core.kernel.indicators import market_regime, update
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.records import CORRELATION_SLOTS, SymbolState, new_world
from tests.support.worlds import HOUR, MINUTE, Candle, random_market

BARS = random_market(5, 1, 160, volatility=0.01, gaps=0.1).candles[0]


def shown(bars: list[Candle], p: Params) -> list[SymbolState]:
    """Return a copy of the symbol's state after each bar."""
    s = SymbolState()
    states = []
    for bar in bars:
        update(s, p, bar.time + p.timeframe_ms, bar.high, bar.low, bar.close)
        states.append(SymbolState(**{name: getattr(s, name) for name in SymbolState.__slots__}))
    return states


def weights(alpha: float, n: int) -> list[float]:
    """Return the weights of an exponential average that starts at the first of n values."""
    return [(1.0 - alpha) ** (n - 1)] + [alpha * (1.0 - alpha) ** (n - 1 - i) for i in range(1, n)]


def average(alpha: float, values: list[float]) -> float:
    return math.fsum(w * v for w, v in zip(weights(alpha, len(values)), values, strict=True))


def variance(alpha: float, values: list[float]) -> float:
    """Return the weighted mean square distance from the weighted mean."""
    mean = average(alpha, values)
    return average(alpha, [(v - mean) ** 2 for v in values])


def wilder(seed: float, values: list[float]) -> list[float]:
    """Return Wilder's smoothing over 14 bars: thirteen parts of the old value, one of the new."""
    smooth = [seed]
    for value in values:
        smooth.append((13.0 * smooth[-1] + value) / 14.0)
    return smooth[1:]


def true_ranges(bars: list[Candle]) -> list[float]:
    ranges = [bars[0].high - bars[0].low]
    for before, bar in pairwise(bars):
        ranges.append(
            max(bar.high - bar.low, abs(bar.high - before.close), abs(bar.low - before.close))
        )
    return ranges


def directional_index(bars: list[Candle]) -> list[float]:
    """Return ADX of each bar, with both movements and the index itself smoothed from zero."""
    plus, minus = [0.0], [0.0]
    for before, bar in pairwise(bars):
        up, down = bar.high - before.high, before.low - bar.low
        plus.append(up if up > down and up > 0 else 0.0)
        minus.append(down if down > up and down > 0 else 0.0)
    indices = []
    for plus_move, minus_move in zip(wilder(0.0, plus), wilder(0.0, minus), strict=True):
        total = plus_move + minus_move
        indices.append(100.0 * abs(plus_move - minus_move) / total if total > 0 else 0.0)
    return wilder(0.0, indices)


@pytest.mark.parametrize("count", [1, 2, 15, 160])
def test_averages_are_weighted_sums_of_all_closes(count: int) -> None:
    p = Params()
    closes = [bar.close for bar in BARS[:count]]
    s = shown(BARS[:count], p)[-1]
    assert s.ema_fast == pytest.approx(average(2.0 / 21.0, closes), rel=1e-12)
    assert s.ema_slow == pytest.approx(average(2.0 / 56.0, closes), rel=1e-12)
    assert s.mean_price == pytest.approx(average(2.0 / 41.0, closes), rel=1e-12)


def test_reference_averages_have_periods_12_and_48() -> None:
    closes = [bar.close for bar in BARS]
    states = shown(BARS, Params(use_indicators=0))
    for i in (0, 1, 47, 159):
        fast, slow = average(2.0 / 13.0, closes[: i + 1]), average(2.0 / 49.0, closes[: i + 1])
        assert states[i].cross_fast == pytest.approx(fast, rel=1e-12)
        assert states[i].cross_slow == pytest.approx(slow, rel=1e-12)
        assert states[i].cross_diff == states[i].cross_fast - states[i].cross_slow
        assert states[i].prev_cross_diff == (states[i - 1].cross_diff if i else 0.0)


def test_average_true_range_and_directional_index() -> None:
    states = shown(BARS, Params())
    ranges = true_ranges(BARS)
    assert [s.atr for s in states] == pytest.approx(wilder(ranges[0], ranges), rel=1e-12)
    assert [s.adx for s in states] == pytest.approx(directional_index(BARS), rel=1e-9, abs=1e-12)


def test_spread_is_in_average_true_ranges() -> None:
    states = shown(BARS, Params())
    for before, s in pairwise(states):
        assert s.spread == pytest.approx((s.ema_fast - s.ema_slow) / s.atr)
        assert s.prev_spread == before.spread


def test_momentum_is_the_t_value_of_the_mean_return() -> None:
    p = Params()
    closes = [bar.close for bar in BARS]
    returns = [b / a - 1.0 for a, b in pairwise(closes)]
    states = shown(BARS, p)
    for i in (1, 2, 30, 159):
        seen = [0.0, *returns[:i]]  # the first bar has no return: it counts as 0
        mean, var = average(p.momentum_alpha, seen), variance(p.momentum_alpha, seen)
        assert states[i].mean_return == pytest.approx(mean, rel=1e-9)
        assert states[i].var_return == pytest.approx(var, rel=1e-9)
        assert states[i].score == pytest.approx(mean / math.sqrt(var) * 5.0, rel=1e-9)
        assert states[i].prev_score == states[i - 1].score


def test_zscore_is_the_distance_from_the_mean_price() -> None:
    p = Params()
    closes = [bar.close for bar in BARS]
    states = shown(BARS, p)
    for i in (1, 2, 30, 159):
        mean = average(p.reversion_alpha, closes[: i + 1])
        deviation = math.sqrt(variance(p.reversion_alpha, closes[: i + 1]))
        assert states[i].zscore == pytest.approx((closes[i] - mean) / deviation, rel=1e-8)
        assert states[i].prev_zscore == states[i - 1].zscore


def test_volatilities_are_weighted_mean_squares_of_returns() -> None:
    p = Params()
    closes = [bar.close for bar in BARS]
    squares = [(b / a - 1.0) ** 2 for a, b in pairwise(closes)]
    s = shown(BARS, p)[-1]
    assert s.vol_fast == pytest.approx(average(2.0 / 25.0, [0.0, *squares]), rel=1e-12)
    assert s.vol_slow == pytest.approx(average(2.0 / 241.0, [0.0, *squares]), rel=1e-12)


def test_a_flat_market_has_no_signals_and_divides_by_nothing() -> None:
    flat = [Candle(i * HOUR, 50.0, 50.0, 50.0, 50.0) for i in range(60)]
    s = shown(flat, Params())[-1]
    assert (s.spread, s.score, s.zscore, s.adx, s.atr) == (0.0, 0.0, 0.0, 0.0, 0.0)
    assert s.regime == RANGE
    assert (s.bars, s.bar_time, s.mark) == (60, 60 * HOUR, 50.0)


def test_the_reference_profile_keeps_only_its_own_averages() -> None:
    s = shown(BARS, Params(use_indicators=0))[-1]
    assert (s.adx, s.score, s.zscore, s.vol_fast, s.regime) == (0.0, 0.0, 0.0, 0.0, 0)
    assert shown(BARS, Params())[-1].cross_diff == 0.0


@pytest.mark.parametrize(
    ("adx", "vol_fast", "vol_slow", "regime"),
    [
        (21.99, 1e-4, 1e-4, RANGE),
        (22.0, 1e-4, 1e-4, TRENDING),
        (21.99, 6.2499e-4, 1e-4, RANGE),
        (50.0, 6.25e-4, 1e-4, PANIC),  # variances: 2.5 times the volatility is 6.25
        (0.0, 6.25e-4, 1e-4, PANIC),
        (50.0, 1.0, 0.0, TRENDING),  # no long-term volatility yet: nothing to compare with
    ],
)
def test_market_regime(adx: float, vol_fast: float, vol_slow: float, regime: int) -> None:
    s = SymbolState(adx=adx, vol_fast=vol_fast, vol_slow=vol_slow)
    assert market_regime(s, Params(panic_ratio=2.5, trend_adx=22.0)) == regime


def samples_of(closes: list[tuple[int, float]], p: Params) -> dict[int, float]:
    """Return sample number -> return after closes at given times of symbol 1 of two."""
    world = new_world(p, [], [], [Spec(), Spec()], 0.0)
    for time, close in closes:
        see_bar(world, 1, time, close, close, close)
    assert world.samples[:CORRELATION_SLOTS] == [-1] * CORRELATION_SLOTS
    return {n: r for n, r in zip(world.samples, world.returns, strict=True) if n >= 0}


def test_samples_are_returns_from_hour_to_hour() -> None:
    closes = [(1_000 * HOUR + i * 30 * MINUTE, 100.0 + i) for i in range(5)]
    found = samples_of(closes, Params(timeframe_ms=30 * MINUTE))
    assert found == {1_001: 102.0 / 100.0 - 1.0, 1_002: 104.0 / 102.0 - 1.0}


def test_no_sample_across_a_hole() -> None:
    closes = [(1_000 * HOUR, 100.0), (1_002 * HOUR, 110.0), (1_003 * HOUR, 121.0)]
    assert samples_of(closes, Params()) == {1_003: pytest.approx(0.1)}


def test_bars_longer_than_an_hour_give_one_sample_each() -> None:
    closes = [(100 * 4 * HOUR, 100.0), (101 * 4 * HOUR, 103.0)]
    found = samples_of(closes, Params(timeframe_ms=4 * HOUR, sample_ms=4 * HOUR))
    assert found == {101: pytest.approx(0.03)}


def test_a_new_sample_replaces_the_one_168_before_it() -> None:
    rng = random.Random(1)
    closes = [(n * HOUR, 100.0 + rng.random()) for n in range(2_000, 2_000 + 171)]
    found = samples_of(closes, Params())
    assert sorted(found) == list(range(2_003, 2_171))
