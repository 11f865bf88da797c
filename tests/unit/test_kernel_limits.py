"""Balance tiers, daily loss, drawdowns, the day roll, and the mode that follows from them."""

import random

import pytest

from bot.core.kernel.codes import FLATTEN, REDUCE_ONLY, RUN
from bot.core.kernel.limits import (
    choose_tier,
    judge_limits,
    limit_mode,
    roll_day,
    share_lost,
    window_peak,
)
from bot.core.kernel.params import Params
from bot.core.kernel.records import WINDOW_SLOTS, Account, World
from tests.support.worlds import DAY, HOUR, MINUTE, START, design_tiers, make_world

P = Params()
TIERS = design_tiers()


@pytest.mark.parametrize(
    ("equity", "row"),
    [
        (0.0, 0),
        (99.99, 0),
        (100.0, 1),
        (999.99, 1),
        (1_000.0, 2),
        (9_999.99, 2),
        (10_000.0, 3),
        (99_999.99, 3),
        (100_000.0, 4),
        (1e9, 4),
    ],
)
def test_the_first_choice_is_the_row_of_the_table(equity: float, row: int) -> None:
    a = Account(equity=equity)
    assert choose_tier(a, TIERS, P) == row
    assert a.tier == row


@pytest.mark.parametrize(
    ("tier", "equity", "row"),
    [
        (1, 1_000.0, 1),  # the floor alone does not lift
        (1, 1_049.99, 1),
        (1, 1_050.01, 2),  # 5 % above it does
        (2, 1_049.0, 2),  # inside the band both rows stay
        (2, 1_000.0, 2),
        (2, 999.99, 1),  # below the floor it falls at once
        (0, 105_000.01, 4),  # several rows in one step
        (0, 104_999.0, 3),
        (4, 50.0, 0),
        (4, 10_000.0, 3),
        (3, 1e9, 4),
        (0, -5.0, 0),
    ],
)
def test_hysteresis(tier: int, equity: float, row: int) -> None:
    a = Account(equity=equity, tier=tier)
    assert choose_tier(a, TIERS, P) == row


def test_an_account_at_a_boundary_does_not_flap() -> None:
    a = Account(equity=990.0)
    rows = []
    for equity in (990.0, 1_010.0, 990.0, 1_010.0, 1_060.0, 1_010.0, 1_001.0, 990.0, 1_010.0):
        a.equity = equity
        rows.append(choose_tier(a, TIERS, P))
    assert rows == [1, 1, 1, 1, 2, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("peak", "equity", "lost"),
    [
        (100.0, 85.0, 0.15),
        (100.0, 100.0, 0.0),
        (100.0, 120.0, 0.0),
        (100.0, -20.0, 1.2),
        (0.0, -5.0, 0.0),
    ],
)
def test_share_lost(peak: float, equity: float, lost: float) -> None:
    assert share_lost(peak, equity) == pytest.approx(lost)


def judged(w: World, equities: list[float], step: int = HOUR, start: int = START) -> World:
    """Judge one equity after the other, `step` ms apart, rolling days as `judge` does."""
    for i, equity in enumerate(equities):
        w.account.equity = equity
        judge_limits(w, start + i * step)
        roll_day(w.account, start + i * step)
    return w


def test_drawdown_is_from_the_peak_and_the_largest_is_kept() -> None:
    a = judged(make_world(balance=1_000.0), [1_000.0, 1_200.0, 1_140.0, 1_150.0]).account
    assert a.peak_equity == 1_200.0
    assert a.drawdown == pytest.approx(50.0 / 1_200.0)
    assert a.max_drawdown == pytest.approx(60.0 / 1_200.0)


@pytest.mark.parametrize(("equity", "locked"), [(900.0, 0), (899.99, 1)])
def test_a_daily_loss_over_10_percent_locks(equity: float, locked: int) -> None:
    """Two hours after the day's first equity, so that the fast drawdown does not judge it."""
    w = judged(make_world(balance=1_000.0), [1_000.0, 950.0, equity])
    assert w.account.daily_locked == locked
    assert w.account.daily_loss == pytest.approx(1.0 - equity / 1_000.0)
    assert limit_mode(w.account) == (REDUCE_ONLY if locked else RUN)


def test_the_lock_outlives_a_recovery_and_ends_with_the_day() -> None:
    w = make_world(balance=1_000.0)
    equities = [1_000.0, 950.0, 890.0, 960.0, 990.0]
    judged(w, equities, start=START + 19 * HOUR)  # 19:00 to 23:00
    assert w.account.daily_locked == 1
    assert w.account.day_equity == 1_000.0
    judged(w, [985.0], start=START + DAY)
    assert (w.account.daily_locked, w.account.daily_loss) == (0, 0.0)
    assert (w.account.day_equity, w.account.day) == (985.0, START // DAY + 1)
    assert limit_mode(w.account) == RUN


def test_the_daily_loss_is_from_the_days_first_equity_not_from_the_peak() -> None:
    # 12 % below the peak of the day, 5 % below its first equity
    w = judged(make_world(balance=1_000.0), [1_000.0, 1_040.0, 1_079.0, 1_010.0, 950.0])
    assert w.account.daily_locked == 0
    assert w.account.daily_loss == pytest.approx(0.05)


def test_a_loss_of_the_last_hour_counts_for_the_old_day() -> None:
    """At 00:00 the same equity closes the old day and opens the new one."""
    w = make_world(balance=1_000.0)
    judged(w, [1_000.0, 940.0], start=START + 22 * HOUR)
    w.account.equity = 880.0
    judge_limits(w, START + DAY)
    assert w.account.daily_locked == 1  # 12 % of the old day
    assert roll_day(w.account, START + DAY) is True
    assert (w.account.daily_locked, w.account.day_equity) == (0, 880.0)
    assert roll_day(w.account, START + DAY + HOUR) is False


@pytest.mark.parametrize(("equity", "killed"), [(850.01, False), (849.99, True)])
def test_a_drawdown_over_15_percent_kills(equity: float, killed: bool) -> None:
    w = judged(make_world(balance=1_000.0), [1_000.0, 960.0, 920.0, 890.0, equity])
    assert w.account.killed_at == (START + 4 * HOUR if killed else 0)
    assert limit_mode(w.account) == (FLATTEN if killed else REDUCE_ONLY)


@pytest.mark.parametrize(("equity", "killed"), [(900.0, False), (899.99, True)])
def test_10_percent_within_60_minutes_kills(equity: float, killed: bool) -> None:
    equities = [1_000.0, 980.0, equity]
    w = judged(make_world(balance=1_000.0), equities, step=30 * MINUTE)
    assert (w.account.killed_at != 0) == killed
    assert w.account.fast_drawdown == pytest.approx(1.0 - equity / 1_000.0)


def test_10_percent_over_61_minutes_does_not_kill() -> None:
    w = judged(make_world(balance=1_000.0), [1_000.0] + [990.0] * 60 + [895.0], step=MINUTE)
    assert w.account.fast_drawdown == pytest.approx(95.0 / 990.0)
    assert w.account.killed_at == 0


def test_the_kill_switch_stays_and_keeps_its_time() -> None:
    w = judged(make_world(balance=1_000.0), [1_000.0, 840.0, 500.0, 2_000.0, 2_000.0])
    assert w.account.killed_at == START + HOUR
    judged(w, [2_000.0] * 48, start=START + DAY)
    assert w.account.killed_at == START + HOUR
    assert limit_mode(w.account) == FLATTEN


def test_the_most_restrictive_mode_wins() -> None:
    assert limit_mode(Account()) == RUN
    assert limit_mode(Account(daily_locked=1)) == REDUCE_ONLY
    assert limit_mode(Account(daily_locked=1, killed_at=START)) == FLATTEN


def test_the_reference_profile_has_no_breakers() -> None:
    w = make_world(balance=1_000.0, params=Params(reference=1))
    judged(w, [1_000.0, 100.0])
    assert w.account.max_drawdown == pytest.approx(0.9)
    assert (w.account.killed_at, w.account.daily_locked) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_window_peak_against_the_brute_force_maximum(seed: int) -> None:
    """Bars and snapshots at irregular times; a sample of exactly 60 minutes ago still counts."""
    rng = random.Random(seed)
    w = make_world()
    seen: list[tuple[int, float]] = []
    time, equity = START, 1_000.0
    for _ in range(1_500):
        time += rng.choice((10_000, 10_000, 60_000, 300_000, HOUR, 3 * HOUR))
        equity = round(equity * (1.0 + rng.gauss(0.0, 0.01)), rng.choice((0, 2)))
        seen.append((time, equity))
        w.account.equity = equity
        expected = max(e for t, e in seen[-400:] if t >= time - HOUR)
        assert window_peak(w, time) == expected


def test_the_window_holds_an_hour_of_falling_bars_and_snapshots() -> None:
    """A strictly falling equity drops nothing: 60 bars and 360 snapshots must fit."""
    w = make_world()
    times = sorted(
        [START + i * 10_000 for i in range(361)] + [START + i * MINUTE for i in range(61)]
    )
    assert len(times) <= WINDOW_SLOTS
    for i, time in enumerate(times):
        w.account.equity = 1_000.0 - i
        assert window_peak(w, time) == 1_000.0


def test_an_equity_that_stands_still_takes_one_slot() -> None:
    w = make_world()
    for i in range(300):
        assert window_peak(w, START + i * 10_000) == 10_000.0
    assert w.account.window_tail - w.account.window_head == 1
    assert w.window_times[w.account.window_head % WINDOW_SLOTS] == START + 299 * 10_000


def test_a_full_window_keeps_its_maximum() -> None:
    w = make_world()
    a = w.account
    for i in range(WINDOW_SLOTS + 200):
        a.equity = 10_000.0 - i
        assert window_peak(w, START + i) == 10_000.0
        assert a.window_tail - a.window_head == min(i + 1, WINDOW_SLOTS)
    ring = [w.window_equity[i % WINDOW_SLOTS] for i in range(a.window_head, a.window_tail)]
    assert ring == sorted(ring, reverse=True)
