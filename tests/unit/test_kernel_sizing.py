"""How many contracts an entry gets: each cap binding in turn, with its arithmetic."""

import pytest

from bot.core.kernel.codes import (
    ACCEPTED,
    CORRELATED,
    CUT,
    ENTRY,
    LONG,
    MARGIN,
    MIN_CONTRACT,
    RISK_CAP,
    SHORT,
    TOTAL_CAP,
)
from bot.core.kernel.params import Params, Tier
from bot.core.kernel.records import Intent, Position, World
from bot.core.kernel.sizing import (
    position_cap,
    room_left,
    size_entry,
    used_totals,
    whole_contracts,
)
from tests.support.worlds import START, design_tiers, make_spec, make_world

NO_BAND = {"entry_band": 0.0, "correlation_limit": 2.0}
"""Sizing at the reference price itself, and no symbol related to another: clean numbers."""


@pytest.mark.parametrize(
    ("equity", "row", "cap"),
    [
        (50.0, 0, 15.0),
        (500.0, 1, 200.0),
        (5_000.0, 2, 2_500.0),
        (50_000.0, 3, 30_000.0),
        (100_000.0, 4, 50_000.0),  # 60 % would be 60,000
        (80_000.0, 4, 48_000.0),
    ],
)
def test_position_cap(equity: float, row: int, cap: float) -> None:
    assert position_cap(equity, design_tiers()[row]) == pytest.approx(cap)


def sizing_world(equity: float = 10_000.0, tier: int = 3, **params: float) -> World:
    """Return three symbols at 100 USDT, one coin a contract, with a chosen row of the table."""
    w = make_world(
        3,
        params=Params(**{**NO_BAND, **params}),  # type: ignore[arg-type]
        specs=[make_spec(multiplier=1.0) for _ in range(3)],
        balance=equity,
    )
    w.account.tier = tier
    for s in w.symbols:
        s.mark = 100.0
    return w


def hold(w: World, k: int, contracts: float, stop: float, side: int = LONG) -> None:
    """Put a position on symbol k, entered at 100 with leverage 10."""
    w.positions[k] = Position(
        side=side, contracts=contracts, entry_price=100.0, stop_price=stop, leverage=10.0
    )


def accept(w: World, k: int, contracts: float, distance: float = 0.02, side: int = LONG) -> None:
    """Put an accepted entry on symbol k, at reference 100 with leverage 10."""
    w.intents[k] = Intent(
        kind=ENTRY,
        time=START,
        side=side,
        contracts=contracts,
        reference_price=100.0,
        leverage=10.0,
        stop_distance=distance,
    )


def sized(w: World, distance: float = 0.05, leverage: float = 10.0) -> tuple[float, int]:
    return size_entry(w, 0, LONG, distance, leverage, START)


def test_risk_per_trade_decides_when_the_stop_is_wide() -> None:
    # 2.5 % of 10,000 = 250 USDT of risk; / 5 % = 5,000 USDT; less than the cap of 6,000
    assert sized(sizing_world(), 0.05) == (50.0, ACCEPTED)


def test_the_position_cap_decides_when_the_stop_is_tight() -> None:
    # 250 / 2 % = 12,500 USDT; the cap is 60 % of 10,000
    assert sized(sizing_world(), 0.02) == (60.0, ACCEPTED)


def test_sizing_is_at_the_worst_price_of_the_entry_band() -> None:
    # 6,000 / 100.3 = 59.82 contracts
    assert sized(sizing_world(entry_band=0.003), 0.02) == (59.0, ACCEPTED)


@pytest.mark.parametrize(
    ("notional", "contracts"),
    [(0.0, 0.0), (-5.0, 0.0), (100.2, 0.0), (100.3, 1.0), (200.5, 1.0), (200.7, 2.0)],
)
def test_whole_contracts(notional: float, contracts: float) -> None:
    w = sizing_world(entry_band=0.003)
    assert whole_contracts(w, 0, notional) == contracts


def test_no_position_is_larger_than_the_order_that_has_to_close_it() -> None:
    w = sizing_world()
    natural, _ = sized(w)
    w.specs[0].max_contracts = natural - 0.5
    assert sized(w) == (natural - 1.0, ACCEPTED)
    w.specs[0].max_contracts = natural
    assert sized(w) == (natural, ACCEPTED)


def test_no_price_buys_nothing() -> None:
    w = sizing_world()
    w.symbols[0].mark = 0.0
    assert whole_contracts(w, 0, 1_000.0) == 0.0


def test_less_than_one_contract_is_refused() -> None:
    w = sizing_world(equity=50.0, tier=0)
    # risk 0.5 / 5 % = 10 USDT; a contract costs 100
    assert sized(w, 0.05) == (0.0, MIN_CONTRACT)


def test_total_notional_cuts() -> None:
    w = sizing_world()
    hold(w, 1, 60.0, stop=100.0)  # no risk left
    hold(w, 2, 45.0, stop=100.0)
    # 150 % of 10,000 - 10,500 = 4,500 USDT, less than the natural 6,000
    assert sized(w, 0.02) == (45.0, CUT)
    w.positions[2].contracts = 89.5
    assert sized(w, 0.02) == (0.0, TOTAL_CAP)  # 50 USDT are left


def test_total_notional_is_at_the_marks() -> None:
    w = sizing_world()
    hold(w, 1, 60.0, stop=100.0)
    w.symbols[1].mark = 200.0
    assert sized(w, 0.02) == (30.0, CUT)  # 15,000 - 60 x 200 = 3,000


def test_the_sum_of_stop_risk_cuts() -> None:
    w = sizing_world()
    hold(w, 1, 40.0, stop=95.0)  # risks 200
    hold(w, 2, 50.0, stop=95.5)  # risks 225
    # 6 % of 10,000 = 600; 175 left / 5 % = 3,500; natural 250 / 5 % = 5,000
    assert sized(w, 0.05) == (35.0, CUT)
    w.positions[2].stop_price = 92.0  # risks 400: nothing is left
    assert sized(w, 0.05) == (0.0, RISK_CAP)


def test_margin_cuts() -> None:
    w = sizing_world(max_total_share=100.0)
    hold(w, 1, 900.0, stop=100.0)  # 90,000 / 10 = 9,000 USDT of margin
    # 1,000 USDT of margin are left; at leverage 2 they carry 2,000
    assert sized(w, 0.02, leverage=2.0) == (20.0, CUT)
    w.positions[1].contracts = 1_000.0
    assert sized(w, 0.02, leverage=2.0) == (0.0, MARGIN)


@pytest.mark.parametrize(
    ("used", "room", "code"),
    [
        ((0.0, 0.0, 0.0), 12_000.0, RISK_CAP),  # 600 / 5 %; total 15,000; margin 100,000
        ((14_000.0, 0.0, 0.0), 1_000.0, TOTAL_CAP),
        ((0.0, 590.0, 0.0), 200.0, RISK_CAP),
        ((0.0, 0.0, 9_990.0), 100.0, MARGIN),
        ((16_000.0, 0.0, 0.0), -1_000.0, TOTAL_CAP),
    ],
)
def test_room_left(used: tuple[float, float, float], room: float, code: int) -> None:
    w = sizing_world()
    found, binding = room_left(w.account, w.params, 10.0, 0.05, used)
    assert found == pytest.approx(room)
    assert binding == code


def test_used_totals_with_and_without_accepted_entries() -> None:
    w = sizing_world()
    hold(w, 1, 30.0, stop=98.0)
    accept(w, 2, 20.0, distance=0.03)
    assert used_totals(w, True) == pytest.approx((3_000.0, 60.0, 300.0))
    assert used_totals(w, False) == pytest.approx((5_000.0, 120.0, 500.0))


def test_correlated_symbols_share_one_position_cap() -> None:
    w = sizing_world(correlation_limit=0.8)  # without samples all count as correlated
    accept(w, 1, 45.0)
    assert sized(w, 0.02) == (15.0, CUT)  # 6,000 - 4,500
    assert w.account.collisions_correlated == 1
    w.intents[1].contracts = 59.5
    assert sized(w, 0.02) == (0.0, CORRELATED)  # 50 USDT are left
    assert w.account.collisions_correlated == 2
    assert w.account.collisions_cap == 0


def test_a_correlated_position_of_an_earlier_cycle_is_no_collision() -> None:
    w = sizing_world(correlation_limit=0.8)
    hold(w, 1, 45.0, stop=98.0)
    assert sized(w, 0.02) == (15.0, CUT)
    assert w.account.collisions_correlated == 0


def test_the_other_side_of_a_correlated_symbol_does_not_count() -> None:
    w = sizing_world(correlation_limit=0.8)
    hold(w, 1, 45.0, stop=102.0, side=SHORT)
    assert sized(w, 0.02) == (60.0, ACCEPTED)


def test_a_correlated_position_above_the_cap_leaves_nothing() -> None:
    w = sizing_world(correlation_limit=0.8)
    hold(w, 1, 70.0, stop=100.0)
    assert sized(w, 0.02) == (0.0, CORRELATED)


def test_two_entries_that_only_together_exceed_a_cap_collide() -> None:
    w = sizing_world()
    hold(w, 1, 60.0, stop=100.0)
    accept(w, 2, 60.0)
    assert sized(w, 0.02) == (30.0, CUT)  # 15,000 - 12,000
    assert w.account.collisions_cap == 1


def test_a_cap_that_open_positions_fill_alone_is_no_collision() -> None:
    w = sizing_world()
    hold(w, 1, 60.0, stop=100.0)
    hold(w, 2, 60.0, stop=100.0)
    assert sized(w, 0.02) == (30.0, CUT)
    assert w.account.collisions_cap == 0


def test_an_accepted_entry_that_leaves_room_is_no_collision() -> None:
    w = sizing_world()
    accept(w, 1, 20.0)
    assert sized(w, 0.02) == (60.0, ACCEPTED)
    assert w.account.collisions_cap == 0


def test_the_tier_of_100_000_caps_at_50_000_usdt() -> None:
    w = sizing_world(equity=400_000.0, tier=4)
    # risk 3 % of 400,000 / 5 % = 240,000; 60 % = 240,000; but at most 50,000
    assert sized(w, 0.05) == (500.0, ACCEPTED)


@pytest.mark.parametrize("tier", range(5))
def test_natural_size_of_every_tier(tier: int) -> None:
    equity = (50.0, 500.0, 5_000.0, 50_000.0, 150_000.0)[tier]
    share = (0.30, 0.40, 0.50, 0.60, 0.60)[tier]
    risk = (0.010, 0.015, 0.020, 0.025, 0.030)[tier]
    w = sizing_world(equity=equity, tier=tier)
    w.specs[0].multiplier = 0.001
    row = design_tiers()[tier]
    assert (row.max_share, row.risk_share) == (share, risk)
    for distance in (0.02, 0.05):
        wanted = min(share * equity, risk * equity / distance, 50_000.0 if tier == 4 else 1e12)
        contracts, verdict = sized(w, distance)
        assert verdict == ACCEPTED
        assert wanted - 0.1001 <= contracts * 0.1 <= wanted  # a contract is worth 0.1 USDT


def test_overridden_tiers_are_used() -> None:
    w = sizing_world()
    w.tiers[:] = [Tier(floor=0.0, leverage=2.0, max_share=0.1, risk_share=0.5)]
    w.account.tier = 0
    assert sized(w, 0.05) == (10.0, ACCEPTED)
