"""The price grid, slippage, entry limits and fees, with worked numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.kernel.codes import MAKER, TAKER
from bot.core.kernel.params import Params
from bot.core.kernel.prices import (
    entry_fills,
    entry_limit,
    fee,
    market_price,
    on_grid,
    round_down,
    round_near,
    round_up,
)
from tests.support.worlds import make_spec

TICKS = [0.1, 0.01, 0.5, 5.0, 1e-5]


@pytest.mark.parametrize(
    ("tick", "price", "down", "near", "up"),
    [
        (0.1, 100.04, 100.0, 100.0, 100.1),
        (0.1, 100.06, 100.0, 100.1, 100.1),
        (0.1, 0.30000000000000004, 0.3, 0.3, 0.3),  # three ticks, one unit in the last place off
        (0.1, 100.3, 100.3, 100.3, 100.3),  # 100.3 / 0.1 is 1002.9999999999999
        (0.01, 1.005, 1.0, 1.0, 1.01),  # the float 1.005 is a little less than it looks
        (0.01, 65_432.109, 65_432.1, 65_432.11, 65_432.11),
        (0.5, 99.74, 99.5, 99.5, 100.0),
        (0.5, 99.76, 99.5, 100.0, 100.0),
        (5.0, 102.4, 100.0, 100.0, 105.0),
        (5.0, 102.6, 100.0, 105.0, 105.0),
        (1e-5, 0.123456, 0.12345, 0.12346, 0.12346),
        (1e-5, 0.12345, 0.12345, 0.12345, 0.12345),
    ],
)
def test_rounding(tick: float, price: float, down: float, near: float, up: float) -> None:
    spec = make_spec(tick)
    assert round_down(price, spec) == down
    assert round_near(price, spec) == near
    assert round_up(price, spec) == up


@pytest.mark.parametrize("tick", TICKS)
@given(steps=st.integers(1, 2_000_000))
def test_grid_prices_stay_where_they_are(tick: float, steps: int) -> None:
    """A grid price is the float nearest to its decimal, and no rounding moves it."""
    spec = make_spec(tick)
    price = float(f"{steps * int(tick * 100_000 + 0.5)}e-5")
    assert on_grid(float(steps), spec) == price
    assert round_down(price, spec) == round_near(price, spec) == round_up(price, spec) == price


@pytest.mark.parametrize("tick", TICKS)
@given(price=st.floats(0.01, 200_000.0))
def test_rounding_is_to_the_neighbours(tick: float, price: float) -> None:
    spec = make_spec(tick)
    noise = 2e-6 * tick + 1e-12 * price
    down, near, up = round_down(price, spec), round_near(price, spec), round_up(price, spec)
    assert price - tick - noise <= down <= price + noise
    assert price - noise <= up <= price + tick + noise
    assert abs(near - price) <= tick / 2 + noise
    assert near in (down, up)


def test_no_grid_leaves_prices_alone() -> None:
    spec = make_spec(0.0)
    price = 100.123456789
    assert round_down(price, spec) == round_near(price, spec) == round_up(price, spec) == price
    assert market_price(price, 1, Params(slippage=0.0002), spec) == price * 1.0002
    assert market_price(price, -1, Params(slippage=0.0002), spec) == price * 0.9998


@pytest.mark.parametrize(
    ("tick", "side", "paid"),
    [
        (0.1, 1, 100.1),  # 100 x 1.0003 = 100.03, up to 100.1
        (0.1, -1, 99.9),  # 100 x 0.9997 =  99.97, down to 99.9
        (0.01, 1, 100.03),
        (0.01, -1, 99.97),
        (0.5, 1, 100.5),
        (0.5, -1, 99.5),
        (5.0, 1, 105.0),
        (5.0, -1, 95.0),
        (1e-5, 1, 100.03),
        (1e-5, -1, 99.97),
    ],
)
def test_a_market_order_pays_slippage_and_rounding(tick: float, side: int, paid: float) -> None:
    assert market_price(100.0, side, Params(slippage=0.0003), make_spec(tick)) == paid


@pytest.mark.parametrize("tick", TICKS)
@given(price=st.floats(1.0, 100_000.0), slippage=st.floats(0.0, 0.01))
def test_slippage_is_never_in_our_favour(tick: float, price: float, slippage: float) -> None:
    spec, p = make_spec(tick), Params(slippage=slippage)
    noise = 2e-6 * tick + 1e-12 * price
    assert market_price(price, 1, p, spec) >= price * (1.0 + slippage) - noise
    assert market_price(price, -1, p, spec) <= max(price * (1.0 - slippage), tick) + noise


def test_a_sale_gets_at_least_one_tick() -> None:
    assert market_price(3.0, -1, Params(), make_spec(5.0)) == 5.0


@pytest.mark.parametrize(
    ("tick", "side", "limit"),
    [
        (0.1, 1, 100.3),  # 100 x 1.003
        (0.1, -1, 99.7),
        (0.5, 1, 100.0),  # 100.3 rounded towards the reference: never beyond the band
        (0.5, -1, 100.0),
        (0.01, 1, 100.3),
        (0.01, -1, 99.7),
    ],
)
def test_entry_limit_is_30_bps_from_the_reference(tick: float, side: int, limit: float) -> None:
    assert entry_limit(100.0, side, Params(), make_spec(tick)) == limit


@pytest.mark.parametrize(
    ("price", "limit", "side", "fills"),
    [
        (100.3, 100.3, 1, True),
        (100.4, 100.3, 1, False),
        (90.0, 100.3, 1, True),
        (99.7, 99.7, -1, True),
        (99.6, 99.7, -1, False),
        (110.0, 99.7, -1, True),
        (1e9, 0.0, 1, True),  # no limit
        (1e-9, 0.0, -1, True),
    ],
)
def test_an_entry_fills_up_to_its_limit(price: float, limit: float, side: int, fills: bool) -> None:
    assert entry_fills(price, limit, side) is fills


def test_fees() -> None:
    p = Params(maker_fee=0.0002, taker_fee=0.0006)
    assert fee(10_000.0, TAKER, p) == pytest.approx(6.0)  # 0.06 % of 10,000
    assert fee(10_000.0, MAKER, p) == pytest.approx(2.0)  # 0.02 %
