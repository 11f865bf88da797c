"""What is used of each cap, and the correlation of hourly returns."""

import random
import statistics

import pytest

from bot.core.kernel.codes import ENTRY, EXIT, FLAT, LONG, SHORT
from bot.core.kernel.exposure import (
    correlated_notional,
    correlated_room,
    correlation,
    used_margin,
    used_notional,
    used_risk,
    used_side,
    worst_price,
)
from bot.core.kernel.params import Params
from bot.core.kernel.records import CORRELATION_SLOTS, Intent, Position, World
from tests.support.worlds import HOUR, START, make_spec, make_world

NOW = START // HOUR  # number of the sample that ends at START


def put_samples(w: World, k: int, values: dict[int, float]) -> None:
    """Write returns by sample number into the ring of symbol k."""
    for sample, value in values.items():
        slot = k * CORRELATION_SLOTS + sample % CORRELATION_SLOTS
        w.samples[slot], w.returns[slot] = sample, value


def last_hours(values: list[float], newest: int = NOW) -> dict[int, float]:
    return {newest - len(values) + 1 + i: value for i, value in enumerate(values)}


def two_series(seed: int, n: int, weight: float) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    xs = [rng.gauss(0.0, 0.01) for _ in range(n)]
    ys = [weight * x + (1.0 - abs(weight)) * rng.gauss(1e-4, 0.01) for x in xs]
    return xs, ys


@pytest.mark.parametrize("n", [24, 100, 168])
@pytest.mark.parametrize("weight", [-1.0, -0.6, 0.0, 0.3, 0.8, 0.95])
def test_correlation_is_pearsons(n: int, weight: float) -> None:
    xs, ys = two_series(n, n, weight)
    w = make_world(3)
    put_samples(w, 0, last_hours(xs))
    put_samples(w, 2, last_hours(ys))
    expected = statistics.correlation(xs, ys)
    assert correlation(w, 0, 2, START) == pytest.approx(expected, abs=1e-9)
    assert correlation(w, 2, 0, START) == pytest.approx(expected, abs=1e-9)


def test_only_common_samples_count() -> None:
    xs, ys = two_series(1, 100, 0.5)
    w = make_world(2)
    x_at = {n: v for n, v in last_hours(xs).items() if n % 3 != 0}
    y_at = {n: v for n, v in last_hours(ys).items() if n % 5 != 0}
    put_samples(w, 0, x_at)
    put_samples(w, 1, y_at)
    common = sorted(x_at.keys() & y_at.keys())
    expected = statistics.correlation([x_at[n] for n in common], [y_at[n] for n in common])
    assert correlation(w, 0, 1, START) == pytest.approx(expected, abs=1e-9)


def test_too_few_common_samples_count_as_correlated() -> None:
    w = make_world(2)
    assert correlation(w, 0, 1, START) == 1.0
    put_samples(w, 0, last_hours([0.01, -0.01] * 12))
    put_samples(w, 1, last_hours([-0.01, 0.01] * 12))
    assert correlation(w, 0, 1, START) == pytest.approx(-1.0)  # 24 are enough
    w.samples[NOW % CORRELATION_SLOTS] = -1
    assert correlation(w, 0, 1, START) == 1.0  # 23 are not


def test_samples_older_than_168_hours_are_not_used() -> None:
    """A symbol that stood still for long keeps old returns in its ring: they have expired."""
    xs, ys = two_series(2, 168, 0.5)
    w = make_world(2)
    put_samples(w, 0, last_hours(xs))
    put_samples(w, 1, last_hours(ys))
    for hours in (1, 50, 144):
        expected = statistics.correlation(xs[hours:], ys[hours:])
        found = correlation(w, 0, 1, START + hours * HOUR)
        assert found == pytest.approx(expected, abs=1e-9)
    assert correlation(w, 0, 1, START + 145 * HOUR) == 1.0  # 23 are left
    assert correlation(w, 0, 1, START + 1_000 * HOUR) == 1.0


def test_returns_of_different_hours_in_the_same_slot_are_not_common() -> None:
    """Symbol 1 stood still for 100 hours: its older slots are a lap of the ring behind."""
    xs, ys = two_series(4, 168, 0.5)
    w = make_world(2)
    put_samples(w, 0, last_hours(xs))
    put_samples(w, 1, last_hours(ys, newest=NOW - 100))
    common = statistics.correlation(xs[:68], ys[100:])
    assert correlation(w, 0, 1, START) == pytest.approx(common, abs=1e-9)
    assert correlation(w, 1, 0, START) == pytest.approx(common, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 2.0**-10, 0.0001, -0.0011])
def test_a_series_without_variation_counts_as_correlated(value: float) -> None:
    xs, _ = two_series(3, 168, 0.0)
    w = make_world(2)
    put_samples(w, 0, last_hours(xs))
    put_samples(w, 1, last_hours([value] * 168))
    assert correlation(w, 0, 1, START) == 1.0


def test_used_by_a_position() -> None:
    w = make_world(2, specs=[make_spec(), make_spec(multiplier=0.1)])
    pos = w.positions[1]
    pos.side, pos.contracts, pos.entry_price, pos.leverage = LONG, 30.0, 100.0, 8.0
    pos.stop_price = 97.0
    w.symbols[1].mark = 110.0
    assert used_notional(w, 1) == pytest.approx(330.0)  # 30 x 0.1 x 110
    assert used_risk(w, 1) == pytest.approx(9.0)  # 3 coins x 3 USDT, from entry to stop
    assert used_margin(w, 1) == pytest.approx(37.5)  # 300 / 8, fixed at entry
    assert used_side(w, 1) == LONG
    assert (used_notional(w, 0), used_risk(w, 0), used_margin(w, 0)) == (0.0, 0.0, 0.0)
    assert used_side(w, 0) == FLAT


@pytest.mark.parametrize(
    ("side", "stop", "risk"),
    [
        (LONG, 97.0, 3.0),
        (LONG, 100.0, 0.0),
        (LONG, 105.0, 0.0),
        (SHORT, 103.0, 3.0),
        (SHORT, 95.0, 0.0),
    ],
)
def test_a_stop_that_locks_a_gain_risks_nothing(side: int, stop: float, risk: float) -> None:
    w = make_world(1, specs=[make_spec(multiplier=1.0)])
    w.positions[0] = Position(side=side, contracts=1.0, entry_price=100.0, stop_price=stop)
    assert used_risk(w, 0) == pytest.approx(risk)


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_used_by_an_accepted_entry_at_the_worst_price(side: int) -> None:
    w = make_world(1, specs=[make_spec(multiplier=0.1)])
    w.intents[0] = Intent(
        kind=ENTRY,
        side=side,
        contracts=30.0,
        reference_price=100.0,
        leverage=8.0,
        stop_distance=0.03,
    )
    assert worst_price(w, 100.0) == pytest.approx(100.3)
    assert used_notional(w, 0) == pytest.approx(300.9)  # 3 coins x 100 x 1.003
    assert used_risk(w, 0) == pytest.approx(9.027)  # 3 % of it
    assert used_margin(w, 0) == pytest.approx(37.6125)  # an eighth of it
    assert used_side(w, 0) == side


def test_a_wanted_exit_frees_nothing() -> None:
    w = make_world(1, specs=[make_spec(multiplier=1.0)])
    w.positions[0] = Position(side=SHORT, contracts=2.0, entry_price=100.0, stop_price=102.0)
    w.symbols[0].mark = 100.0
    before = (used_notional(w, 0), used_risk(w, 0), used_margin(w, 0), used_side(w, 0))
    w.intents[0] = Intent(kind=EXIT, side=SHORT, contracts=2.0)
    assert (used_notional(w, 0), used_risk(w, 0), used_margin(w, 0), used_side(w, 0)) == before
    w.positions[0] = Position()
    assert (used_notional(w, 0), used_side(w, 0)) == (0.0, FLAT)


def related_world() -> World:
    """Return five symbols: 1 and 2 move with 0, 3 moves alone, 4 moves against 0."""
    w = make_world(5, specs=[make_spec(multiplier=1.0) for _ in range(5)])
    xs, ys = two_series(7, 168, 0.0)
    noise, _ = two_series(8, 168, 0.0)
    put_samples(w, 0, last_hours(xs))
    put_samples(w, 1, last_hours([x + 0.1 * n for x, n in zip(xs, noise, strict=True)]))
    put_samples(w, 2, last_hours([x - 0.1 * n for x, n in zip(xs, noise, strict=True)]))
    put_samples(w, 3, last_hours(ys))
    put_samples(w, 4, last_hours([-x for x in xs]))
    for s in w.symbols:
        s.mark = 100.0
    return w


def test_correlated_notional_adds_the_same_side_of_related_symbols() -> None:
    w = related_world()
    for k, side in ((1, LONG), (3, LONG), (4, LONG)):
        w.positions[k] = Position(side=side, contracts=float(k), entry_price=90.0)
    w.intents[2] = Intent(kind=ENTRY, side=LONG, contracts=5.0, reference_price=100.0)
    # symbol 1 held: 100; symbol 2 accepted: 5 x 100.3; 3 and 4 do not move with 0
    assert correlated_notional(w, 0, LONG, START, False) == pytest.approx(100.0 + 501.5)
    assert correlated_notional(w, 0, LONG, START, True) == pytest.approx(501.5)
    assert correlated_notional(w, 0, SHORT, START, False) == 0.0
    w.positions[1].side = SHORT
    assert correlated_notional(w, 0, LONG, START, False) == pytest.approx(501.5)
    assert correlated_notional(w, 0, SHORT, START, False) == pytest.approx(100.0)
    assert correlated_notional(w, 4, LONG, START, False) == 0.0  # -1 is not 0.8


def test_correlated_room_is_the_tightest_of_all_groups_that_are_joined() -> None:
    w = related_world()
    cap = 1_000.0
    assert correlated_room(w, 0, LONG, START, cap) == 1_000.0
    w.positions[1] = Position(side=LONG, contracts=3.0, entry_price=100.0)
    assert correlated_room(w, 0, LONG, START, cap) == pytest.approx(700.0)
    assert correlated_room(w, 0, SHORT, START, cap) == 1_000.0
    # 3 moves with 1 but not with 0: the group of 1 is fuller than that of 0
    for slot in range(CORRELATION_SLOTS):
        x, y = w.returns[slot], w.returns[3 * CORRELATION_SLOTS + slot]
        w.returns[CORRELATION_SLOTS + slot] = x + 0.6 * y
        w.returns[3 * CORRELATION_SLOTS + slot] = x + 1.5 * y
    assert correlation(w, 0, 1, START) > 0.8
    assert correlation(w, 1, 3, START) > 0.8
    assert correlation(w, 0, 3, START) < 0.7
    w.positions[3] = Position(side=LONG, contracts=4.0, entry_price=100.0)
    assert correlated_notional(w, 0, LONG, START, False) == pytest.approx(300.0)
    assert correlated_room(w, 0, LONG, START, cap) == pytest.approx(300.0)  # 1,000 - 300 - 400


def test_the_correlation_limit_includes_its_value() -> None:
    w = related_world()
    w.positions[1] = Position(side=LONG, contracts=1.0)
    exact = correlation(w, 0, 1, START)
    for limit, used in ((exact, 100.0), (exact + 1e-9, 0.0)):
        w.params.correlation_limit = limit
        assert correlated_notional(w, 0, LONG, START, False) == used


def test_the_worst_price_follows_the_entry_band() -> None:
    w = make_world(1, params=Params(entry_band=0.01))
    assert worst_price(w, 200.0) == pytest.approx(202.0)
