"""What each strategy wants for one symbol: a signed strength to enter, and whether to leave.

A strategy looks only at the indicators of its symbol and at the market regime it is made for;
money, caps and other strategies are none of its business. Strength is in comparable units
(multiples of the entry threshold), so that arbitration can rank wishes of different strategies.
"""

from bot.core.kernel.codes import EMA_CROSS, MOMENTUM, PANIC, RANGE, REVERSION, TREND, TRENDING
from bot.core.kernel.params import Params
from bot.core.kernel.records import SymbolState
from bot.core.kernel.registry import kernel


@kernel
def trend_signal(s: SymbolState, p: Params) -> float:
    """Follow the averages when they part decisively, in a trending market only."""
    if s.regime != TRENDING or p.trend_band <= 0.0:
        return 0.0
    before, now, band = s.prev_spread, s.spread, p.trend_band
    if before < band <= now:
        return now / band + s.adx / 100.0
    if before > -band >= now:
        return now / band - s.adx / 100.0
    return 0.0


@kernel
def momentum_signal(s: SymbolState, p: Params) -> float:
    """Follow a mean return that is significant against its own noise, unless the market panics."""
    if s.regime == PANIC or p.momentum_entry <= 0.0:
        return 0.0
    before, now, entry = s.prev_score, s.score, p.momentum_entry
    if before < entry <= now or before > -entry >= now:
        return now / entry
    return 0.0


@kernel
def reversion_signal(s: SymbolState, p: Params) -> float:
    """Trade back to the mean when the price returns from an extreme, in a ranging market only."""
    if s.regime != RANGE or p.reversion_entry <= 0.0:
        return 0.0
    if s.prev_zscore <= -p.reversion_entry < s.zscore:
        return -s.prev_zscore / p.reversion_entry
    if s.prev_zscore >= p.reversion_entry > s.zscore:
        return -s.prev_zscore / p.reversion_entry
    return 0.0


@kernel
def cross_signal(s: SymbolState, p: Params) -> float:
    """Reference strategy: the difference of two averages crosses zero (DESIGN section 11)."""
    if s.bars <= p.cross_first_bar:
        return 0.0
    if s.prev_cross_diff <= 0.0 < s.cross_diff:
        return 1.0
    if s.prev_cross_diff >= 0.0 > s.cross_diff:
        return -1.0
    return 0.0


@kernel
def entry_signal(kind: int, s: SymbolState, p: Params) -> float:
    """Return the wish of strategy `kind`: its sign is the side, its size the strength, 0 is no
    wish."""
    if s.bars < p.warmup_bars and kind != EMA_CROSS:
        return 0.0
    if kind == TREND:
        return trend_signal(s, p)
    if kind == MOMENTUM:
        return momentum_signal(s, p)
    if kind == REVERSION:
        return reversion_signal(s, p)
    if kind == EMA_CROSS:
        return cross_signal(s, p)
    return 0.0


@kernel
def exit_signal(kind: int, side: int, s: SymbolState, p: Params) -> bool:
    """Return whether strategy `kind` wants to leave its position on `side` (1 long, -1 short)."""
    if kind == TREND:
        return side * s.spread < 0.0
    if kind == MOMENTUM:
        return side * s.score < p.momentum_exit
    if kind == REVERSION:
        return side * s.zscore >= p.reversion_exit
    return False


@kernel
def reward(kind: int, p: Params) -> float:
    """Return the target distance of strategy `kind` in multiples of its stop distance."""
    if kind == TREND:
        return p.trend_reward
    if kind == MOMENTUM:
        return p.momentum_reward
    return p.reversion_reward
