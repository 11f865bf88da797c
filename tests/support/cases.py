"""Random runs for property tests: a market, a world and its parameters, drawn by Hypothesis."""

import itertools
from typing import NamedTuple

from hypothesis import strategies as st

from bot.core.kernel.params import Params, Spec
from bot.core.kernel.records import World
from tests.support.worlds import ALL_STRATEGIES, Market, make_spec, make_world, random_market

TICKS = (0.01, 0.1, 0.5, 1e-5)
ORDERS = tuple(order for n in (1, 2, 3) for order in itertools.permutations(ALL_STRATEGIES, n))

# Signals are rare at the defaults; these make runs of a few hundred bars trade, collide and stop.
EAGER: dict[str, float] = {
    "warmup_bars": 30,
    "trend_adx": 15.0,
    "trend_band": 0.3,
    "momentum_entry": 1.2,
    "reversion_entry": 1.5,
}
TWEAKS: tuple[dict[str, float], ...] = (
    {},
    {"slippage": 0.0, "entry_band": 0.02},
    {"stop_atr": 1.0, "trail_start": 0.5, "trail_gap": 0.5},
    {"stop_atr": 8.0, "trend_reward": 1.0, "momentum_reward": 0.8},
    {"max_positions": 5, "correlation_limit": 0.5, "correlation_min_samples": 48},
    {"max_positions": 5, "max_total_share": 0.7, "max_stop_risk": 0.02},
    {"drawdown_limit": 0.04, "daily_loss_limit": 0.015, "fast_drawdown_limit": 0.03},
    {"daily_loss_limit": 0.01},
)


class Case(NamedTuple):
    """All that makes a run; two runs of one case are the same."""

    seed: int
    symbols: int
    bars: int
    shared: float
    volatility: float
    holes: float
    gaps: float
    late: bool
    balance: float
    strategies: tuple[int, ...]
    tweak: dict[str, float]


CASES = st.builds(
    Case,
    seed=st.integers(0, 2**32),
    symbols=st.integers(1, 5),
    bars=st.integers(60, 260),
    shared=st.sampled_from([0.0, 0.6, 0.68, 0.75, 1.0]),
    volatility=st.sampled_from([0.002, 0.006, 0.012, 0.025]),
    holes=st.sampled_from([0.0, 0.0, 0.05, 0.3]),
    gaps=st.sampled_from([0.0, 0.05, 0.3]),
    late=st.booleans(),
    balance=st.sampled_from([60.0, 101.0, 990.0, 10_300.0, 99_000.0, 250_000.0]),
    strategies=st.sampled_from(ORDERS),
    tweak=st.sampled_from(TWEAKS),
)


def case_market(case: Case) -> Market:
    """Return the market of a case."""
    return random_market(
        case.seed,
        case.symbols,
        case.bars,
        volatility=case.volatility,
        shared=case.shared,
        holes=case.holes,
        gaps=case.gaps,
        late=case.late,
    )


def case_spec(case: Case, k: int) -> Spec:
    """Return a contract for symbol k; ticks, sizes and maintenance margins vary with the seed."""
    return make_spec(
        tick=TICKS[(case.seed + k) % len(TICKS)],
        multiplier=(0.001, 0.01, 0.1)[(case.seed // 7 + k) % 3],
        maintenance=(0.004, 0.01, 0.025)[(case.seed // 11 + k) % 3],
    )


def case_world(case: Case) -> World:
    """Return a fresh world for a case."""
    return make_world(
        case.symbols,
        params=Params(**{**EAGER, **case.tweak}),  # type: ignore[arg-type]
        strategies=case.strategies,
        specs=[case_spec(case, k) for k in range(case.symbols)],
        balance=case.balance,
    )
