"""Incremental indicators of one symbol: each bar is looked at once, nothing is recomputed.

All averages are exponential, so the whole memory of a symbol is a handful of floats. A bar that is
missing is no event: `update` is simply not called, and every indicator stands still.
"""

import math

from bot.core.kernel.codes import PANIC, RANGE, TRENDING
from bot.core.kernel.params import Params
from bot.core.kernel.records import CORRELATION_SLOTS, SymbolState
from bot.core.kernel.registry import kernel


@kernel
def start(s: SymbolState, high: float, low: float, close: float) -> None:
    """Seed every indicator with the first bar: averages at the close, ranges at the bar's own."""
    s.ema_fast = close
    s.ema_slow = close
    s.atr = high - low
    s.mean_price = close
    s.cross_fast = close
    s.cross_slow = close


@kernel
def update_trend(s: SymbolState, p: Params, high: float, low: float, close: float) -> None:
    """Move the averages, the average true range and the directional index (Wilder, 1978) by one
    bar."""
    s.ema_fast += p.ema_fast * (close - s.ema_fast)
    s.ema_slow += p.ema_slow * (close - s.ema_slow)
    wilder, mark = p.wilder, s.mark
    true_range = max(high, mark) - min(low, mark)
    atr = s.atr + wilder * (true_range - s.atr)
    s.atr = atr
    up = high - s.prev_high
    down = s.prev_low - low
    plus = 0.0
    minus = 0.0
    if up > down and up > 0.0:
        plus = up
    elif down > up and down > 0.0:
        minus = down
    plus = s.plus_move + wilder * (plus - s.plus_move)
    minus = s.minus_move + wilder * (minus - s.minus_move)
    s.plus_move = plus
    s.minus_move = minus
    total = plus + minus
    index = 0.0
    if total > 0.0:
        index = 100.0 * abs(plus - minus) / total
    s.adx += wilder * (index - s.adx)
    s.prev_spread = s.spread
    s.spread = 0.0
    if atr > 0.0:
        s.spread = (s.ema_fast - s.ema_slow) / atr


@kernel
def update_momentum(s: SymbolState, p: Params, close: float) -> None:
    """Move the mean and variance of returns by one bar; the score is the t-value of the mean."""
    change = 0.0
    if s.mark > 0.0:
        change = close / s.mark - 1.0
    alpha = p.momentum_alpha
    gap = change - s.mean_return
    s.mean_return += alpha * gap
    variance = (1.0 - alpha) * (s.var_return + alpha * gap * gap)
    s.var_return = variance
    s.prev_score = s.score
    s.score = 0.0
    if variance > 0.0:
        s.score = s.mean_return / math.sqrt(variance) * p.momentum_scale
    square = change * change
    s.vol_fast += p.vol_fast * (square - s.vol_fast)
    s.vol_slow += p.vol_slow * (square - s.vol_slow)


@kernel
def update_reversion(s: SymbolState, p: Params, close: float) -> None:
    """Move the mean and variance of the price by one bar; the z-score is the distance in
    deviations."""
    gap = close - s.mean_price
    alpha = p.reversion_alpha
    s.mean_price += alpha * gap
    variance = (1.0 - alpha) * (s.var_price + alpha * gap * gap)
    s.var_price = variance
    s.prev_zscore = s.zscore
    s.zscore = 0.0
    if variance > 0.0:
        s.zscore = (close - s.mean_price) / math.sqrt(variance)


@kernel
def update_cross(s: SymbolState, p: Params, close: float) -> None:
    """Move the two averages of the reference strategy by one bar."""
    s.cross_fast += p.cross_fast * (close - s.cross_fast)
    s.cross_slow += p.cross_slow * (close - s.cross_slow)
    s.prev_cross_diff = s.cross_diff
    s.cross_diff = s.cross_fast - s.cross_slow


@kernel
def market_regime(s: SymbolState, p: Params) -> int:
    """Return the regime: PANIC when short-term volatility towers over the long-term one, else by
    ADX."""
    if s.vol_slow > 0.0 and s.vol_fast >= s.vol_slow * p.panic_ratio * p.panic_ratio:
        return PANIC
    if s.adx >= p.trend_adx:
        return TRENDING
    return RANGE


@kernel
def update(s: SymbolState, p: Params, time: int, high: float, low: float, close: float) -> None:
    """Take the bar that ends at `time` into everything that is kept of this symbol."""
    if s.bars == 0:
        s.mark = close
        s.prev_high = high
        s.prev_low = low
        start(s, high, low, close)
    if p.use_indicators != 0:
        update_trend(s, p, high, low, close)
        update_momentum(s, p, close)
        update_reversion(s, p, close)
        s.regime = market_regime(s, p)
    else:
        update_cross(s, p, close)
    s.prev_high = high
    s.prev_low = low
    s.mark = close
    s.bars += 1
    s.bar_time = time


@kernel
def update_samples(
    s: SymbolState, p: Params, k: int, time: int, returns: list[float], samples: list[int]
) -> None:
    """Keep the hourly return at `time`, which ends an hour, when the sample before is exactly one
    step older.

    Bars longer than an hour give one sample each. A return across a hole is not kept: it would be
    set against the one-hour return of another symbol.
    """
    sample = time // p.sample_ms
    if sample == s.sample + 1 and s.sample_close > 0.0:
        slot = k * CORRELATION_SLOTS + sample % CORRELATION_SLOTS
        returns[slot] = s.mark / s.sample_close - 1.0
        samples[slot] = sample
    s.sample = sample
    s.sample_close = s.mark
