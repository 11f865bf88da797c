"""Stop, target, trailing and liquidation levels, and what one bar does to them."""

import pytest

from bot.core.kernel.codes import LIQUIDATION, STOP, TARGET
from bot.core.kernel.levels import (
    bankruptcy_price,
    bar_exit,
    liquidation_distance,
    set_levels,
    stop_distance,
    stop_fill_price,
    target_fill_price,
    trailed_stop,
)
from bot.core.kernel.params import Params, Tier
from bot.core.kernel.records import Position, SymbolState
from tests.support.worlds import design_tiers, make_spec

P = Params()


@pytest.mark.parametrize(
    ("leverage", "maintenance", "distance"),
    [
        (10.0, 0.004, (0.1 - 0.0046) / 1.0046),
        (4.0, 0.01, (0.25 - 0.0106) / 1.0106),
        (12.0, 0.01, (1.0 / 12.0 - 0.0106) / 1.0106),
        (1.0, 0.0, 0.9994 / 1.0006),
        (100.0, 0.02, 0.0),  # the maintenance margin is more than the whole margin
        (0.0, 0.01, 0.0),
    ],
)
def test_liquidation_distance(leverage: float, maintenance: float, distance: float) -> None:
    spec = make_spec(maintenance=maintenance)
    assert liquidation_distance(leverage, P, spec) == pytest.approx(distance, rel=1e-12)


@pytest.mark.parametrize(
    ("atr", "mark", "leverage", "distance"),
    [
        (1.2, 100.0, 4.0, 0.03),  # 2.5 x 1.2 %
        (0.5, 100.0, 4.0, 0.02),  # 1.25 % is less than the least
        (4.0, 100.0, 4.0, 0.05),  # 10 % is more than the most
        (0.0, 100.0, 4.0, 0.02),
        (1.0, 0.0, 4.0, 0.02),  # no price yet
        (4.0, 100.0, 12.0, 0.05),  # a quarter before 7.273 % is 5.455 %: does not bind
        (4.0, 100.0, 20.0, 0.75 * 0.0394 / 1.0106),  # 3.899 %: a quarter before is 2.924 %
        (1.0, 100.0, 20.0, 0.025),
        (1.0, 100.0, 26.0, 0.75 * (1.0 / 26.0 - 0.0106) / 1.0106),  # 2.07 %
        (1.0, 100.0, 27.0, 0.0),  # 1.98 % would be nearer than 2 %: none is safe
    ],
)
def test_stop_distance(atr: float, mark: float, leverage: float, distance: float) -> None:
    found = stop_distance(SymbolState(atr=atr, mark=mark), leverage, P, make_spec())
    assert found == pytest.approx(distance, rel=1e-12)


@pytest.mark.parametrize("tier", design_tiers())
@pytest.mark.parametrize("atr", [0.01, 1.0, 50.0])
def test_every_tier_has_a_stop_within_2_to_5_percent(tier: Tier, atr: float) -> None:
    found = stop_distance(SymbolState(atr=atr, mark=100.0), tier.leverage, P, make_spec())
    assert 0.02 <= found <= 0.05
    assert found <= 0.75 * liquidation_distance(tier.leverage, P, make_spec())


def position(side: int, **more: float) -> Position:
    """Return a position entered at 100 with a stop 2 % and a target 6 % away, at leverage 10."""
    pos = Position(side=side, contracts=1.0, entry_price=100.0, best_close=100.0, leverage=10.0)
    pos.stop_distance, pos.target_distance = 0.02, 0.06
    for name, value in more.items():
        setattr(pos, name, value)
    return pos


@pytest.mark.parametrize(
    ("side", "stop", "target", "liquidation"),
    # (10 % - 1.06 %) / 1.0106 = 8.84623 %
    [(1, 98.0, 106.0, 91.15377), (-1, 102.0, 94.0, 108.84623)],
)
def test_set_levels(side: int, stop: float, target: float, liquidation: float) -> None:
    pos = position(side)
    set_levels(pos, P, make_spec())
    assert (pos.stop_price, pos.target_price) == (stop, target)
    assert pos.liquidation_price == pytest.approx(liquidation, abs=1e-5)


def test_levels_lie_on_the_grid() -> None:
    pos = position(1, entry_price=101.3)
    set_levels(pos, P, make_spec(0.5))
    # 101.3 x 0.98 = 99.274, 101.3 x 1.06 = 107.378
    assert (pos.stop_price, pos.target_price) == (99.5, 107.5)


def test_the_reference_profile_has_no_liquidation() -> None:
    pos = position(1)
    set_levels(pos, Params(reference=1), make_spec(0.0))
    assert pos.liquidation_price == 0.0
    assert (pos.stop_price, pos.target_price) == pytest.approx((98.0, 106.0))


@pytest.mark.parametrize(
    ("side", "close", "stop"),
    [
        (1, 101.99, 98.0),  # gains less than one stop distance: not yet
        (1, 102.0, 100.0),  # one stop distance behind the best close
        (1, 105.5, 103.5),
        (1, 97.0, 98.0),
        (-1, 98.01, 102.0),
        (-1, 98.0, 100.0),
        (-1, 94.5, 96.5),
        (-1, 103.0, 102.0),
    ],
)
def test_trailing(side: int, close: float, stop: float) -> None:
    pos = position(side, stop_price=100.0 - 2.0 * side)
    assert trailed_stop(pos, close, P, make_spec()) == stop


@pytest.mark.parametrize("side", [1, -1])
def test_trailing_never_loosens(side: int) -> None:
    pos = position(side, stop_price=100.0 - 2.0 * side)
    moves = [0.0, 3.0, 1.0, 5.0, 2.0, 4.9, 6.0, -5.0]
    wanted = [-2.0, 1.0, 1.0, 3.0, 3.0, 3.0, 4.0, 4.0]  # best close - 2, from a gain of 2 on
    stops = []
    for move in moves:
        pos.stop_price = trailed_stop(pos, 100.0 + side * move, P, make_spec())
        stops.append(pos.stop_price)
    assert stops == [100.0 + side * distance for distance in wanted]
    assert pos.best_close == 100.0 + side * 6.0


def test_a_tighter_stop_is_kept() -> None:
    pos = position(1, stop_price=104.0)
    assert trailed_stop(pos, 105.0, P, make_spec()) == 104.0


def test_trailing_start_and_gap_are_parameters() -> None:
    p = Params(trail_start=2.0, trail_gap=0.5)
    pos = position(1, stop_price=98.0)
    assert trailed_stop(pos, 103.9, p, make_spec()) == 98.0
    assert trailed_stop(pos, 104.0, p, make_spec()) == 103.0


def test_the_reference_profile_does_not_trail() -> None:
    pos = position(1, stop_price=98.0)
    assert trailed_stop(pos, 150.0, Params(reference=1), make_spec(0.0)) == 98.0


@pytest.mark.parametrize(("side", "price"), [(1, 90.0), (-1, 110.0)])
def test_bankruptcy_price(side: int, price: float) -> None:
    assert bankruptcy_price(100.0, side, 10.0) == pytest.approx(price)
    assert bankruptcy_price(100.0, side, 0.0) == 100.0


# A long from 100: stop 98, target 104, liquidation 91, tick 0.5. Bars are (open, high, low).
LONG_BARS = [
    ((100.0, 103.0, 98.5), 0),
    ((100.0, 101.0, 98.0), STOP),  # touching is enough for the stop
    ((100.0, 104.0, 99.0), 0),  # the target must be traded through
    ((100.0, 104.4, 99.0), 0),
    ((100.0, 104.5, 99.0), TARGET),  # by one tick
    ((100.0, 106.0, 97.0), STOP),  # both in one bar: the stop first
    ((97.0, 99.0, 96.0), STOP),  # gap through the stop
    ((105.0, 106.0, 104.0), TARGET),  # gap through the target
    ((105.0, 106.0, 97.0), STOP),  # gap through the target, then the stop: the stop first
    ((95.0, 96.0, 90.0), STOP),  # inside the bar the stop comes before the liquidation
    ((91.0, 92.0, 90.0), LIQUIDATION),  # the bar opens at the liquidation price
    ((80.0, 105.0, 79.0), LIQUIDATION),
]


def mirror(bar: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the bar upside down around 100: its high becomes its low."""
    return 200.0 - bar[0], 200.0 - bar[2], 200.0 - bar[1]


@pytest.mark.parametrize(("bar", "reason"), LONG_BARS)
def test_bar_exit(bar: tuple[float, float, float], reason: int) -> None:
    spec = make_spec(0.5)
    assert bar_exit(1, 98.0, 104.0, 91.0, spec, *bar) == reason
    assert bar_exit(-1, 102.0, 96.0, 109.0, spec, *mirror(bar)) == reason


@pytest.mark.parametrize(
    ("stop", "target", "liquidation", "bar", "reason"),
    [
        (0.0, 104.0, 91.0, (100.0, 101.0, 90.0), LIQUIDATION),  # no stop: liquidated inside
        (0.0, 104.0, 91.0, (100.0, 101.0, 91.5), 0),
        (0.0, 104.0, 0.0, (100.0, 101.0, 1.0), 0),
        (98.0, 0.0, 91.0, (100.0, 500.0, 99.0), 0),  # no target
        (0.0, 104.0, 91.0, (100.0, 105.0, 90.0), LIQUIDATION),  # before the target
    ],
)
def test_a_level_of_zero_is_not_there(
    stop: float, target: float, liquidation: float, bar: tuple[float, float, float], reason: int
) -> None:
    assert bar_exit(1, stop, target, liquidation, make_spec(0.5), *bar) == reason


def test_without_a_grid_touching_the_target_is_enough() -> None:
    spec = make_spec(0.0)
    assert bar_exit(1, 98.0, 104.0, 0.0, spec, 100.0, 104.0, 99.0) == TARGET
    assert bar_exit(-1, 102.0, 96.0, 0.0, spec, 100.0, 101.0, 96.0) == TARGET


@pytest.mark.parametrize("tick", [0.1, 0.01, 0.5, 5.0, 1e-5])
def test_one_tick_through_on_every_grid(tick: float) -> None:
    spec = make_spec(tick)
    target = 1_000.0 * tick
    through, at = round(1_001 * tick, 5), target
    assert bar_exit(1, 0.0, target, 0.0, spec, 1.0, through, 1.0) == TARGET
    assert bar_exit(1, 0.0, target, 0.0, spec, 1.0, at, 1.0) == 0


@pytest.mark.parametrize(
    ("side", "open_", "price"),
    [
        (1, 100.0, 97.97),  # 98 x 0.9997 = 97.9706, down
        (1, 97.0, 96.97),  # gap: 97 x 0.9997 = 96.9709, down
        (-1, 100.0, 102.04),  # 102 x 1.0003 = 102.0306, up
        (-1, 103.0, 103.04),  # gap: 103 x 1.0003 = 103.0309, up
    ],
)
def test_stop_fill_price(side: int, open_: float, price: float) -> None:
    stop = 100.0 - 2.0 * side
    assert stop_fill_price(stop, side, open_, P, make_spec()) == price


@pytest.mark.parametrize(
    ("side", "open_", "price"),
    [(1, 100.0, 104.0), (1, 105.0, 105.0), (-1, 100.0, 96.0), (-1, 95.0, 95.0)],
)
def test_target_fill_price_has_no_slippage(side: int, open_: float, price: float) -> None:
    assert target_fill_price(100.0 + 4.0 * side, side, open_) == price
