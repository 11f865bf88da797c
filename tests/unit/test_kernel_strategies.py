"""What each strategy wants, in every market regime, at its thresholds, and when it leaves."""

import pytest

from bot.core.kernel.codes import (
    EMA_CROSS,
    MOMENTUM,
    PANIC,
    RANGE,
    REVERSION,
    TREND,
    TRENDING,
    UNKNOWN,
)
from bot.core.kernel.params import Params
from bot.core.kernel.records import SymbolState
from bot.core.kernel.strategies import entry_signal, exit_signal, reward

P = Params(warmup_bars=200, trend_band=0.5, momentum_entry=2.0, reversion_entry=2.0)


def breakout(regime: int, bars: int = 200) -> SymbolState:
    """Return a symbol on which every strategy would enter long, were it in its own regime."""
    return SymbolState(
        bars=bars,
        regime=regime,
        prev_spread=0.4,
        spread=0.6,
        adx=30.0,
        prev_score=1.5,
        score=3.0,
        prev_zscore=-2.5,
        zscore=-1.5,
        prev_cross_diff=-0.1,
        cross_diff=0.1,
    )


def mirrored(s: SymbolState) -> SymbolState:
    """Return the same market upside down."""
    for name in ("spread", "score", "zscore", "cross_diff"):
        setattr(s, name, -getattr(s, name))
        setattr(s, f"prev_{name}", -getattr(s, f"prev_{name}"))
    return s


TREND_STRENGTH = 0.6 / 0.5 + 30.0 / 100.0  # spread in bands, and the directional index
MOMENTUM_STRENGTH = 3.0 / 2.0
REVERSION_STRENGTH = 2.5 / 2.0  # of the extreme it returns from


@pytest.mark.parametrize(
    ("strategy", "regime", "strength"),
    [
        (TREND, TRENDING, TREND_STRENGTH),
        (TREND, RANGE, 0.0),
        (TREND, PANIC, 0.0),
        (TREND, UNKNOWN, 0.0),
        (MOMENTUM, TRENDING, MOMENTUM_STRENGTH),
        (MOMENTUM, RANGE, MOMENTUM_STRENGTH),
        (MOMENTUM, PANIC, 0.0),
        (REVERSION, RANGE, REVERSION_STRENGTH),
        (REVERSION, TRENDING, 0.0),
        (REVERSION, PANIC, 0.0),
        (REVERSION, UNKNOWN, 0.0),
        (EMA_CROSS, TRENDING, 1.0),
        (EMA_CROSS, RANGE, 1.0),
        (EMA_CROSS, PANIC, 1.0),
    ],
)
def test_each_strategy_enters_in_its_regimes_only(
    strategy: int, regime: int, strength: float
) -> None:
    assert entry_signal(strategy, breakout(regime), P) == pytest.approx(strength)
    assert entry_signal(strategy, mirrored(breakout(regime)), P) == pytest.approx(-strength)


@pytest.mark.parametrize("strategy", [TREND, MOMENTUM, REVERSION])
def test_no_signal_before_the_warm_up_is_over(strategy: int) -> None:
    regime = RANGE if strategy == REVERSION else TRENDING
    assert entry_signal(strategy, breakout(regime, bars=199), P) == 0.0
    assert entry_signal(strategy, breakout(regime, bars=200), P) != 0.0


def test_the_reference_strategy_starts_at_bar_index_48() -> None:
    assert entry_signal(EMA_CROSS, breakout(RANGE, bars=48), P) == 0.0  # index 47 is the 48th bar
    assert entry_signal(EMA_CROSS, breakout(RANGE, bars=49), P) == 1.0


@pytest.mark.parametrize(
    ("previous", "current", "wish"),
    [
        (-1.0, 1.0, 1.0),
        (0.0, 1.0, 1.0),
        (1.0, -1.0, -1.0),
        (0.0, -1.0, -1.0),
        (1.0, 0.0, 0.0),
        (-1.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (1.0, 2.0, 0.0),
        (-1.0, -2.0, 0.0),
    ],
)
def test_the_reference_strategy_wants_a_cross_through_zero(
    previous: float, current: float, wish: float
) -> None:
    s = SymbolState(bars=49, prev_cross_diff=previous, cross_diff=current)
    assert entry_signal(EMA_CROSS, s, P) == wish


@pytest.mark.parametrize(
    ("previous", "current", "side"),
    [
        (0.4, 0.5, 1),  # reaching the level is enough
        (0.5, 0.6, 0),  # it was there already
        (0.4, 0.49, 0),
        (-0.4, -0.5, -1),
        (-0.5, -0.6, 0),
        (-0.9, 0.9, 1),
        (0.9, -0.9, -1),
        (0.9, 0.4, 0),  # falling back is not a cross
    ],
)
def test_a_level_is_crossed_once(previous: float, current: float, side: int) -> None:
    p = Params(momentum_entry=0.5, trend_band=0.5, warmup_bars=0)
    s = SymbolState(prev_score=previous, score=current, prev_spread=previous, spread=current)
    s.regime = TRENDING
    for kind in (MOMENTUM, TREND):
        wish = entry_signal(kind, s, p)
        assert (wish > 0.0) - (wish < 0.0) == side


@pytest.mark.parametrize(
    ("previous", "current", "wish"),
    [
        (-2.0, -1.9, 1.0),
        (-3.0, -1.0, 1.5),
        (-1.9, -1.0, 0.0),  # was not extreme
        (-3.0, -2.0, 0.0),  # still is
        (2.0, 1.9, -1.0),
        (3.0, 1.0, -1.5),
        (1.9, 1.0, 0.0),
        (3.0, 2.0, 0.0),
    ],
)
def test_reversion_waits_for_the_return(previous: float, current: float, wish: float) -> None:
    s = SymbolState(bars=200, regime=RANGE, prev_zscore=previous, zscore=current)
    assert entry_signal(REVERSION, s, P) == wish


@pytest.mark.parametrize(
    ("strategy", "stays", "leaves"),
    [
        (TREND, SymbolState(spread=0.0), SymbolState(spread=-0.01)),
        (MOMENTUM, SymbolState(score=0.0), SymbolState(score=-0.01)),
        (REVERSION, SymbolState(zscore=-0.01), SymbolState(zscore=0.0)),
    ],
)
def test_exits(strategy: int, stays: SymbolState, leaves: SymbolState) -> None:
    """A long leaves when its indicator turns; a short when the mirrored one does."""
    assert exit_signal(strategy, 1, stays, P) is False
    assert exit_signal(strategy, 1, leaves, P) is True
    assert exit_signal(strategy, -1, mirrored(stays), P) is False
    assert exit_signal(strategy, -1, mirrored(leaves), P) is True


def test_the_reference_strategy_leaves_by_reversal_only() -> None:
    assert exit_signal(EMA_CROSS, 1, mirrored(breakout(TRENDING)), P) is False


def test_an_unknown_strategy_wants_nothing() -> None:
    assert entry_signal(99, breakout(TRENDING), P) == 0.0
    assert exit_signal(99, 1, breakout(TRENDING), P) is False


def test_exit_thresholds_are_parameters() -> None:
    p = Params(momentum_exit=0.5, reversion_exit=0.5)
    assert exit_signal(MOMENTUM, 1, SymbolState(score=0.49), p) is True
    assert exit_signal(MOMENTUM, 1, SymbolState(score=0.5), p) is False
    assert exit_signal(REVERSION, -1, SymbolState(zscore=-0.5), p) is True
    assert exit_signal(REVERSION, -1, SymbolState(zscore=-0.49), p) is False


def test_rewards() -> None:
    p = Params(trend_reward=3.0, momentum_reward=2.5, reversion_reward=1.5)
    assert [reward(kind, p) for kind in (TREND, MOMENTUM, REVERSION)] == [3.0, 2.5, 1.5]
