"""Worlds in which strategies wish for what a test wants them to, one decision away."""

from bot.core.kernel.codes import MOMENTUM, RANGE, TREND, TRENDING
from bot.core.kernel.params import Params
from bot.core.kernel.records import World
from tests.support.worlds import ALL_STRATEGIES, HOUR, START, make_spec, make_world

NOW = START + HOUR  # the time of the decision


def wishing_world(
    symbols: int = 1, strategies: tuple[int, ...] = ALL_STRATEGIES, **params: float
) -> World:
    """Return symbols at 100 USDT with 2 % stops and 10,000 USDT; no correlation unless wanted."""
    p = Params(**{"entry_band": 0.0, "correlation_limit": 2.0, **params})  # type: ignore[arg-type]
    specs = [make_spec(multiplier=1.0) for _ in range(symbols)]
    w = make_world(symbols, params=p, strategies=strategies, specs=specs)
    for s in w.symbols:
        s.bars, s.bar_time, s.mark, s.regime = 200, NOW, 100.0, TRENDING
    return w


def wish(w: World, k: int, strategy: int, strength: float) -> None:
    """Let a strategy wish for symbol k: the strength has the sign of the side, its size is >= 1."""
    s = w.symbols[k]
    if strategy == TREND:
        s.spread = strength * w.params.trend_band
    elif strategy == MOMENTUM:
        s.score = strength * w.params.momentum_entry
    else:
        s.regime = RANGE
        s.prev_zscore, s.zscore = -strength * w.params.reversion_entry, -0.1 * strength
