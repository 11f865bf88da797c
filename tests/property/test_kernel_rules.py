"""The rules of DESIGN section 4, checked at every cycle of random runs from outside the kernel."""

import statistics
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.kernel.codes import (
    ACCEPTED,
    CORRELATED,
    CUT,
    END,
    KILL,
    LIQUIDATION,
    MAX_POSITIONS,
    MIN_CONTRACT,
    MODE,
    OWNED,
    RISK_CAP,
    SAME_SIDE,
    SIGNAL,
    STOP,
    TARGET,
)
from bot.core.kernel.params import Tier
from bot.core.kernel.records import Position, World
from tests.support.cases import CASES, EAGER, Case, case_market, case_world
from tests.support.worlds import DAY, HOUR, Market, run_cycles, run_plain

SLACK = 1.0 + 1e-9

type Returns = list[dict[int, float]]
"""[symbol] hour -> return of that hour"""


def hourly_returns(market: Market) -> Returns:
    """Return the returns from each hour's close to the next, where both are there."""
    found = []
    for candles in market.candles:
        closes = {c.time // HOUR + 1: c.close for c in candles}
        found.append(
            {n: close / closes[n - 1] - 1.0 for n, close in closes.items() if n - 1 in closes}
        )
    return found


def correlate(returns: Returns, i: int, j: int, time: int, w: World) -> bool:
    """Return whether two symbols count as correlated at a time; what cannot be measured does."""
    now = time // HOUR
    common = [n for n in range(now - 167, now + 1) if n in returns[i] and n in returns[j]]
    if len(common) < w.params.correlation_min_samples:
        return True
    xs, ys = [returns[i][n] for n in common], [returns[j][n] for n in common]
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        return True
    return statistics.correlation(xs, ys) >= w.params.correlation_limit - 1e-9


def value(w: World, k: int) -> float:
    """Return the notional of the position on symbol k at the close it was decided on, USDT."""
    return w.positions[k].contracts * w.specs[k].multiplier * w.symbols[k].mark


def stop_risk(w: World, k: int, new: bool) -> float:
    """Return what symbol k loses at its stop; a new entry counts as wanted, not as filled."""
    pos = w.positions[k]
    if new:
        return value(w, k) * pos.stop_distance
    return max(pos.side * (pos.entry_price - pos.stop_price), 0.0) * (
        pos.contracts * w.specs[k].multiplier
    )


def cap_of(equity: float, tier: Tier) -> float:
    return min(tier.max_share * equity, tier.max_notional or 1e300)


def check_new_position(w: World, k: int) -> None:
    """Check what one entry must keep by itself: tier, leverage, size, stop, whole contracts."""
    pos, spec, equity = w.positions[k], w.specs[k], w.account.equity
    row = w.account.tier
    tier = w.tiers[row]
    assert tier.floor <= equity
    if row + 1 < len(w.tiers):
        assert equity < w.tiers[row + 1].floor * 1.05
    assert pos.leverage == min(tier.leverage, spec.max_leverage)
    assert pos.contracts == int(pos.contracts) >= 1
    assert value(w, k) <= cap_of(equity, tier) * SLACK
    assert value(w, k) * pos.stop_distance <= tier.risk_share * equity * SLACK
    half_tick = 0.5000001 * spec.tick
    distance = abs(pos.entry_price - pos.stop_price)
    assert 0.02 * pos.entry_price - half_tick <= distance <= 0.05 * pos.entry_price + half_tick
    liquidation = 1.0 / pos.leverage - spec.maintenance_rate - w.params.taker_fee
    assert distance <= 0.75 * liquidation * pos.entry_price + half_tick
    assert distance <= 0.75 * abs(pos.entry_price - pos.liquidation_price) + half_tick
    assert pos.side * (pos.entry_price - pos.stop_price) > 0.0


def check_entries(w: World, returns: Returns, time: int, new: list[int]) -> None:
    """Check what the entries of one cycle must keep together with everything else that is open."""
    p, equity = w.params, w.account.equity
    is_open = [k for k, pos in enumerate(w.positions) if pos.side != 0]
    assert (w.account.killed_at, w.account.daily_locked) == (0, 0)
    assert len(is_open) <= p.max_positions
    assert sum(value(w, k) for k in is_open) <= p.max_total_share * equity * SLACK
    assert sum(stop_risk(w, k, k in new) for k in is_open) <= p.max_stop_risk * equity * SLACK
    for k in new:
        check_new_position(w, k)
        assert w.symbols[k].bar_time == time
        verdict = w.verdicts[w.positions[k].strategy * len(w.symbols) + k]
        assert verdict in (ACCEPTED, CUT)
        related = [
            j
            for j in is_open
            if j != k
            and w.positions[j].side == w.positions[k].side
            and correlate(returns, k, j, time, w)
        ]
        if related:
            group = value(w, k) + sum(value(w, j) for j in related)
            assert group <= cap_of(equity, w.tiers[w.account.tier]) * SLACK


def check_stops(before: list[Position], w: World) -> None:
    """Check that no stop of a position that was open a cycle ago has moved away from the price."""
    for old, pos in zip(before, w.positions, strict=True):
        if pos.side != 0 and old.entry_time == pos.entry_time:
            assert pos.side * (pos.stop_price - old.stop_price) >= 0.0
            assert pos.leverage == old.leverage


def copied(w: World) -> list[Position]:
    return [
        Position(side=p.side, entry_time=p.entry_time, stop_price=p.stop_price, leverage=p.leverage)
        for p in w.positions
    ]


@settings(max_examples=300)
@given(case=CASES)
def test_the_rules_hold_at_every_cycle(case: Case) -> None:
    market, w = case_market(case), case_world(case)
    returns, opens = hourly_returns(market), [{c.time for c in cs} for cs in market.candles]
    before, locked = copied(w), 0
    for time, _ in run_cycles(w, market):
        a = w.account
        new = [k for k, pos in enumerate(w.positions) if pos.side != 0 and pos.entry_time == time]
        if new:
            check_entries(w, returns, time, new)
        check_stops(before, w)
        if locked and not a.daily_locked:
            assert time % DAY == 0
        if a.killed_at:
            for k, pos in enumerate(w.positions):
                since = range(a.killed_at, time + 1, HOUR)
                assert pos.side == 0 or not any(t in opens[k] for t in since)
        assert a.collisions_unresolved == 0
        assert a.identity_error <= 1.0
        before, locked = copied(w), a.daily_locked


@settings(max_examples=60)
@given(case=CASES)
def test_trades_add_up_to_the_equity(case: Case) -> None:
    run = run_plain(case_world(case), case_market(case))
    w = run.world
    for t in run.trades:
        gain = t.side * (t.exit_price - t.entry_price) * t.quantity
        assert t.pnl == pytest.approx(gain - t.fees + t.funding, abs=1e-9 * case.balance)
        assert t.quantity == t.contracts * w.specs[t.symbol].multiplier
        assert t.entry_time <= t.exit_time
        assert t.fees > 0.0
    total = case.balance + sum(t.pnl for t in run.trades)
    assert w.account.equity == pytest.approx(total, abs=1e-9 * case.balance)
    assert w.account.cash == pytest.approx(total, abs=1e-9 * case.balance)
    assert w.account.identity_error <= 1.0
    assert all(pos == Position() for pos in w.positions)
    assert w.account.trades == len(run.trades)


@given(seed=st.integers(0, 2**32), balance=st.sampled_from([100.0, 1e4, 1e8]))
@settings(max_examples=15)
def test_the_identity_holds_over_long_runs(seed: int, balance: float) -> None:
    params = {**EAGER, "drawdown_limit": 2.0, "fast_drawdown_limit": 2.0, "daily_loss_limit": 2.0}
    case = Case(seed, 3, 1_200, 0.5, 0.01, 0.02, 0.05, False, balance, (0, 1, 2), params)
    run = run_plain(case_world(case), case_market(case))
    assert len(run.trades) > 20
    assert run.world.account.identity_error <= 1.0
    assert run.world.account.collisions_unresolved == 0


BUSY: list[dict[str, float]] = [
    {},
    {"max_positions": 5, "max_total_share": 0.7, "max_stop_risk": 0.02},
    {"daily_loss_limit": 0.01, "drawdown_limit": 0.02},
    {"max_positions": 2, "correlation_limit": 2.0},
]


def test_the_cases_do_trade_collide_lock_and_kill() -> None:
    """The other tests of this file would hold for runs in which nothing happens.

    Opposite wishes are too rare in a market to wait for: see test_kernel_collisions.py.
    """
    verdicts: Counter[int] = Counter()
    reasons: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    for seed in range(24):
        case = Case(
            seed,
            symbols=5,
            bars=250,
            shared=(0.3, 0.7, 1.0)[seed % 3],
            volatility=(0.004, 0.012, 0.03)[seed % 3],
            holes=0.05,
            gaps=(0.0, 0.3)[seed % 2],
            late=seed % 2 == 1,
            balance=(60.0, 990.0, 10_300.0)[seed // 4 % 3],
            strategies=(0, 1, 2),
            tweak=BUSY[seed // 2 % 4],
        )
        w = case_world(case)
        w.specs[0].multiplier = 1.0  # a contract of this symbol is too large for a small account
        for _, trades in run_cycles(w, case_market(case)):
            verdicts.update(w.verdicts)
            reasons.update(t.reason for t in trades)
            kinds["locked"] += w.account.daily_locked
            kinds["killed"] += w.account.killed_at != 0
        for kind in ("cap", "correlated"):
            kinds[kind] += getattr(w.account, f"collisions_{kind}")
    wanted = {ACCEPTED, CUT, MODE, OWNED, SAME_SIDE, MAX_POSITIONS, MIN_CONTRACT}
    assert wanted | {CORRELATED, RISK_CAP} <= set(verdicts)
    assert {STOP, TARGET, SIGNAL, KILL, LIQUIDATION} <= set(reasons)
    assert END not in reasons
    assert min(kinds[kind] for kind in ("locked", "killed", "cap", "correlated")) > 0
