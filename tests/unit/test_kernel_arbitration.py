"""Collisions between wishes: every kind, every verdict, and the audit that watches the outcome."""

import pytest

from bot.core.kernel.arbitration import grant, open_count, side_of, strongest
from bot.core.kernel.codes import (
    ACCEPTED,
    ALREADY_IN,
    CORRELATED,
    CUT,
    ENTRY,
    EXIT,
    FLATTEN,
    HALT,
    IN_FLIGHT,
    LIQUIDATION_NEAR,
    LOCKED,
    LONG,
    MAX_POSITIONS,
    MIN_CONTRACT,
    MODE,
    MOMENTUM,
    NO_EQUITY,
    NO_INTENT,
    NO_WISH,
    OPPOSITE,
    OWNED,
    REDUCE_ONLY,
    REVERSION,
    RUN,
    SAME_SIDE,
    SHORT,
    TOTAL_CAP,
    TREND,
)
from bot.core.kernel.decide import decide
from bot.core.kernel.records import CORRELATION_SLOTS, Intent, Position, World
from tests.support.wishes import NOW, wish, wishing_world
from tests.support.worlds import HOUR, START


def verdict(w: World, k: int, strategy: int) -> int:
    return w.verdicts[w.strategies.index(strategy) * len(w.symbols) + k]


def entries(w: World) -> list[int]:
    """Return the symbols with an entry intent."""
    return [k for k, intent in enumerate(w.intents) if intent.kind == ENTRY]


def test_a_lone_wish_is_granted() -> None:
    w = wishing_world(2, trend_reward=3.0, entry_band=0.003)
    wish(w, 1, TREND, -1.5)
    decide(w, NOW, RUN)
    assert entries(w) == [1]
    assert verdict(w, 1, TREND) == ACCEPTED
    intent = w.intents[1]
    assert (intent.time, intent.side, intent.strategy) == (NOW, SHORT, 0)
    assert intent.contracts == 59.0  # 60 % of 10,000 / 100.3
    assert (intent.reference_price, intent.limit_price) == (100.0, 99.7)
    assert (intent.leverage, intent.stop_distance) == (10.0, 0.02)
    assert intent.target_distance == pytest.approx(0.06)
    assert (intent.reason, intent.reverse_side, intent.notional) == (NO_INTENT, 0, 0.0)
    assert w.wishes == [0.0, -1.5, 0.0, 0.0, 0.0, 0.0]
    assert w.account.tier == 3


@pytest.mark.parametrize(
    ("strategy", "strategies", "target"),
    [
        (TREND, (REVERSION, TREND), 0.06),  # 3 stop distances of 2 %
        (MOMENTUM, (REVERSION, MOMENTUM), 0.05),  # 2.5
        (REVERSION, (TREND, REVERSION), 0.03),  # 1.5
    ],
)
def test_the_target_is_the_strategys_own(
    strategy: int, strategies: tuple[int, ...], target: float
) -> None:
    w = wishing_world(1, strategies)
    wish(w, 0, strategy, 1.5)
    decide(w, NOW, RUN)
    assert w.intents[0].strategy == 1
    assert w.intents[0].target_distance == pytest.approx(target)


def test_verdicts_are_of_this_cycle() -> None:
    w = wishing_world(2)
    w.wishes[:], w.verdicts[:] = [9.0] * 6, [ACCEPTED] * 6
    wish(w, 0, TREND, 1.5)
    decide(w, NOW, RUN)
    assert w.verdicts == [ACCEPTED, *[NO_WISH] * 5]
    assert w.wishes == [1.5, *[0.0] * 5]


def test_opposite_wishes_are_both_refused() -> None:
    w = wishing_world(2)
    wish(w, 0, TREND, 3.0)
    wish(w, 0, MOMENTUM, -1.5)
    wish(w, 1, MOMENTUM, 1.5)
    decide(w, NOW, RUN)
    assert (verdict(w, 0, TREND), verdict(w, 0, MOMENTUM)) == (OPPOSITE, OPPOSITE)
    assert verdict(w, 0, REVERSION) == NO_WISH
    assert entries(w) == [1]
    assert w.account.collisions_opposite == 1
    assert w.account.collisions_unresolved == 0


def test_two_against_one_are_all_refused() -> None:
    w = wishing_world(1, strategies=(MOMENTUM, REVERSION, MOMENTUM))
    wish(w, 0, MOMENTUM, 2.0)
    wish(w, 0, REVERSION, -2.0)
    decide(w, NOW, RUN)
    assert w.verdicts == [OPPOSITE, OPPOSITE, OPPOSITE]
    assert w.account.collisions_opposite == 1


def owned_by_momentum(w: World, side: int) -> None:
    w.positions[0] = Position(
        side=side,
        contracts=1.0,
        entry_price=100.0,
        strategy=w.strategies.index(MOMENTUM),
        best_close=100.0,
        stop_price=100.0 - 2.0 * side,
        stop_distance=0.02,
    )


@pytest.mark.parametrize(("side", "collisions"), [(LONG, 0), (SHORT, 1)])
def test_the_owner_keeps_its_symbol(side: int, collisions: int) -> None:
    """Any wish of another strategy is refused; only one against the position is a collision."""
    w = wishing_world()
    owned_by_momentum(w, LONG)
    wish(w, 0, TREND, 5.0 * side)
    decide(w, NOW, RUN)
    assert (verdict(w, 0, TREND), verdict(w, 0, MOMENTUM)) == (OWNED, NO_WISH)
    assert w.account.collisions_owned == collisions
    assert w.account.collisions_opposite == 0
    assert w.intents[0].kind == NO_INTENT


def test_the_owners_own_wish_adds_nothing() -> None:
    w = wishing_world()
    owned_by_momentum(w, LONG)
    wish(w, 0, MOMENTUM, 2.0)
    decide(w, NOW, RUN)
    assert verdict(w, 0, MOMENTUM) == ALREADY_IN
    assert w.intents[0].kind == NO_INTENT


def test_the_owners_opposite_wish_only_leaves() -> None:
    w = wishing_world()
    owned_by_momentum(w, LONG)
    wish(w, 0, MOMENTUM, -2.0)
    wish(w, 0, TREND, -2.0)
    decide(w, NOW, RUN)
    assert (w.intents[0].kind, w.intents[0].side) == (EXIT, LONG)
    assert (verdict(w, 0, MOMENTUM), verdict(w, 0, TREND)) == (ALREADY_IN, OWNED)


@pytest.mark.parametrize("order", [(TREND, MOMENTUM), (MOMENTUM, TREND)])
def test_same_side_the_first_in_configuration_order(order: tuple[int, int]) -> None:
    """Strength does not matter: the second is five times stronger."""
    w = wishing_world(1, strategies=order)
    wish(w, 0, order[0], 1.0)
    wish(w, 0, order[1], 5.0)
    decide(w, NOW, RUN)
    assert (verdict(w, 0, order[0]), verdict(w, 0, order[1])) == (ACCEPTED, SAME_SIDE)
    assert w.intents[0].strategy == 0
    assert w.account.collisions_opposite == 0


def test_positions_go_by_strength() -> None:
    w = wishing_world(4)
    for k, strength in enumerate((1.5, 3.0, -2.0, 2.5)):
        wish(w, k, TREND, strength)
    decide(w, NOW, RUN)
    assert entries(w) == [1, 2, 3]
    assert verdict(w, 0, TREND) == MAX_POSITIONS
    # 60 % and 60 % of 10,000; 30 % are left of 150 %
    assert [w.intents[k].contracts for k in (1, 3, 2)] == [60.0, 60.0, 30.0]
    assert (verdict(w, 1, TREND), verdict(w, 2, TREND)) == (ACCEPTED, CUT)
    assert w.account.collisions_cap == 1
    assert w.account.collisions_unresolved == 0


@pytest.mark.parametrize("strategies", [(TREND, MOMENTUM), (MOMENTUM, TREND)])
def test_equal_strength_goes_by_configuration_order(strategies: tuple[int, int]) -> None:
    w = wishing_world(2, strategies=strategies, max_positions=1)
    wish(w, 0, MOMENTUM, 2.0)
    wish(w, 1, TREND, 2.0)
    decide(w, NOW, RUN)
    assert entries(w) == [1 if strategies[0] == TREND else 0]


def test_equal_strength_of_one_strategy_goes_by_symbol() -> None:
    w = wishing_world(3, max_positions=1)
    for k in (2, 1):
        wish(w, k, MOMENTUM, 2.0)
    decide(w, NOW, RUN)
    assert entries(w) == [1]
    assert verdict(w, 2, MOMENTUM) == MAX_POSITIONS


def test_strongest_looks_at_open_candidates_only() -> None:
    w = wishing_world(2, strategies=(TREND, MOMENTUM))
    w.wishes[:] = [9.0, 1.0, -3.0, 3.0]
    w.verdicts[:] = [OPPOSITE, -1, -1, -1]
    assert strongest(w) == 2
    w.verdicts[:] = [OPPOSITE, ACCEPTED, CUT, NO_WISH]
    assert strongest(w) == -1


def test_open_positions_count_and_a_wanted_exit_frees_nothing() -> None:
    w = wishing_world(3, max_positions=1)
    owned_by_momentum(w, LONG)
    wish(w, 0, MOMENTUM, -2.0)
    wish(w, 1, TREND, 2.0)
    decide(w, NOW, RUN)
    assert w.intents[0].kind == EXIT
    assert open_count(w) == 1
    assert verdict(w, 1, TREND) == MAX_POSITIONS


@pytest.mark.parametrize("mode", [REDUCE_ONLY, HALT, FLATTEN])
def test_no_entry_in_a_restrictive_mode(mode: int) -> None:
    w = wishing_world()
    wish(w, 0, TREND, 2.0)
    wish(w, 0, MOMENTUM, 2.0)
    decide(w, NOW, mode)
    assert (verdict(w, 0, TREND), verdict(w, 0, MOMENTUM)) == (MODE, MODE)
    assert entries(w) == []


def test_a_locked_symbol_takes_no_risk() -> None:
    w = wishing_world(2)
    w.symbols[0].locked = 1
    wish(w, 0, TREND, 2.0)
    wish(w, 1, TREND, 1.0)
    decide(w, NOW, RUN)
    assert verdict(w, 0, TREND) == LOCKED
    assert entries(w) == [1]


@pytest.mark.parametrize("kind", [ENTRY, EXIT])
def test_a_symbol_with_an_order_in_flight_waits(kind: int) -> None:
    w = wishing_world()
    w.intents[0] = Intent(kind=kind, time=START, side=LONG, contracts=1.0, reference_price=100.0)
    before = Intent(kind=kind, time=START, side=LONG, contracts=1.0, reference_price=100.0)
    wish(w, 0, TREND, -2.0)
    decide(w, NOW, RUN)
    assert verdict(w, 0, TREND) == IN_FLIGHT
    assert w.intents[0] == before


@pytest.mark.parametrize("equity", [0.0, -10.0])
def test_an_empty_account_enters_nothing(equity: float) -> None:
    w = wishing_world()
    w.account.equity = equity
    wish(w, 0, TREND, 2.0)
    decide(w, NOW, RUN)
    assert verdict(w, 0, TREND) == NO_EQUITY


def test_no_entry_where_no_stop_is_safe() -> None:
    w = wishing_world()
    for tier in w.tiers:
        tier.leverage = 30.0  # 3.33 % - 1.06 % = 2.27 %; a quarter before is 1.7 %
    wish(w, 0, TREND, 2.0)
    decide(w, NOW, RUN)
    assert verdict(w, 0, TREND) == LIQUIDATION_NEAR
    assert entries(w) == []


def test_the_contracts_own_leverage_limit_holds() -> None:
    w = wishing_world()
    w.specs[0].max_leverage = 5.0
    wish(w, 0, TREND, 2.0)
    decide(w, NOW, RUN)
    assert w.intents[0].leverage == 5.0


def test_less_than_a_contract_is_refused() -> None:
    w = wishing_world()
    w.specs[0].multiplier = 1_000.0
    wish(w, 0, TREND, 2.0)
    decide(w, NOW, RUN)
    assert verdict(w, 0, TREND) == MIN_CONTRACT
    assert entries(w) == []


def test_a_missing_bar_clears_wishes_and_verdicts() -> None:
    w = wishing_world(2)
    for k in (0, 1):
        wish(w, k, TREND, 2.0)
    w.wishes[:], w.verdicts[:] = [9.0] * 6, [ACCEPTED] * 6
    w.symbols[0].bar_time = NOW - HOUR
    decide(w, NOW, RUN)
    assert entries(w) == [1]
    assert [w.wishes[j * 2] for j in range(3)] == [0.0, 0.0, 0.0]
    assert [w.verdicts[j * 2] for j in range(3)] == [NO_WISH] * 3


def test_correlated_wishes_share_a_cap_and_are_counted() -> None:
    w = wishing_world(3, correlation_limit=0.8)  # nothing measured yet: all count as correlated
    wish(w, 0, TREND, 1.0)
    wish(w, 1, TREND, 2.0)
    wish(w, 2, TREND, -1.5)
    w.symbols[1].atr = 2.0  # its stop is 5 %: 250 / 5 % = 5,000 USDT
    decide(w, NOW, RUN)
    # 2 is on the other side; 0 comes last and gets the rest of one cap: 6,000 - 5,000
    assert [intent.contracts for intent in w.intents] == [10.0, 50.0, 60.0]
    assert [verdict(w, k, TREND) for k in range(3)] == [CUT, ACCEPTED, ACCEPTED]
    assert w.account.collisions_correlated == 1


def test_a_full_group_refuses_the_second() -> None:
    w = wishing_world(2, correlation_limit=0.8)
    wish(w, 0, TREND, 1.0)
    wish(w, 1, TREND, 2.0)
    decide(w, NOW, RUN)
    assert verdict(w, 0, TREND) == CORRELATED
    assert w.account.collisions_correlated == 1


def test_refusal_by_the_total_cap() -> None:
    w = wishing_world(3, max_total_share=1.2)
    for k, strength in enumerate((1.0, 3.0, 2.0)):
        wish(w, k, TREND, strength)
    decide(w, NOW, RUN)
    assert [verdict(w, k, TREND) for k in range(3)] == [TOTAL_CAP, ACCEPTED, ACCEPTED]
    assert w.account.collisions_cap == 1


def test_a_chain_of_correlated_wishes_leaves_nothing_unresolved() -> None:
    """1 moves with 0 and with 2, which do not move with each other (0.86, 0.86 and 0.47)."""
    w = wishing_world(3, correlation_limit=0.8)
    hour = NOW // HOUR
    for i in range(CORRELATION_SLOTS):
        u, v = (0.01, -0.01)[i % 2], (0.006, -0.006)[i // 2 % 2]
        for k, value in enumerate((u + v, u, u - v)):
            slot = k * CORRELATION_SLOTS + (hour - i) % CORRELATION_SLOTS
            w.samples[slot], w.returns[slot] = hour - i, value
    for k, strength in enumerate((2.0, 3.0, 1.0)):
        wish(w, k, TREND, strength)
    w.symbols[1].atr = 2.0  # its stop is 5 %: 50 contracts, 1,000 USDT below the cap of 6,000
    decide(w, NOW, RUN)
    assert w.intents[1].contracts == 50.0
    assert w.account.collisions_unresolved == 0


@pytest.mark.parametrize(("value", "side"), [(0.3, 1), (-0.3, -1), (0.0, 0), (-0.0, 0)])
def test_side_of(value: float, side: int) -> None:
    assert side_of(value) == side


def test_grant_counts_entries_of_the_same_cycle() -> None:
    w = wishing_world(2, max_positions=1)
    w.wishes[0], w.wishes[1] = 2.0, 2.0
    grant(w, 0, NOW)
    grant(w, 1, NOW)
    assert w.verdicts[:2] == [ACCEPTED, MAX_POSITIONS]
