"""Limits at the exchange's marks between two cycles: two reads kill, one read does not."""

import pytest

from bot.core.kernel.codes import FLAT
from bot.core.losses import CONFIRM_MS, equity_at, recent_peak
from bot.core.messages import Command, Condition, Effect, Role
from bot.core.modes import Cause
from bot.core.reconcile import Holding, Snapshot, reconcile
from bot.core.state import ERROR_BURST
from tests.support.states import Desk, notices, placed

CONFIRM_S = CONFIRM_MS // 1_000


def in_a_trade() -> Desk:
    """Return a desk long 10 contracts of one coin at 101.1, with 2,100 USDT."""
    desk = Desk()
    desk.enter()
    return desk


def seen_at(desk: Desk, mark: float) -> list[Effect]:
    """Read an account that agrees with the books, at a mark price."""
    state, account = desk.state, desk.state.world.account
    snapshot = Snapshot(
        now_ms=desk.now,
        wallet=account.deposits + account.realised - account.fees + account.funding,
        holdings=tuple(Holding(p.side, p.contracts, mark) for p in state.world.positions),
        open_orders=(),
    )
    return [e for event in reconcile(state, snapshot) for e in desk.feed(event)]


def mark_of_loss(desk: Desk, share: float) -> float:
    """Return the mark at which `share` of the day's first equity is lost."""
    account, pos = desk.state.world.account, desk.state.world.positions[0]
    wallet = account.deposits + account.realised - account.fees
    return pos.entry_price + (account.day_equity * (1.0 - share) - wallet) / pos.contracts


def test_equity_at_marks_is_the_wallet_and_what_is_held() -> None:
    desk = in_a_trade()
    wallet = 2_100.0 - desk.state.world.account.fees
    assert equity_at(desk.state.world, [111.1]) == pytest.approx(wallet + 100.0)
    assert equity_at(desk.state.world, [0.0]) is None  # no mark, no judgement
    assert equity_at(Desk().state.world, [0.0]) == 2_100.0


def test_a_read_within_the_limits_is_no_event() -> None:
    desk = in_a_trade()
    state = desk.state
    before = state.digest()
    assert seen_at(desk, mark_of_loss(desk, 0.05)) == []
    assert state.digest() == before


def test_a_daily_loss_between_cycles_holds_entries_at_once() -> None:
    desk = in_a_trade()
    # 10 % in a day is also 10 % within the hour: the second read would kill.
    effects = seen_at(desk, mark_of_loss(desk, 0.101))
    assert [n.kind for n in notices(effects)] == ["daily_loss"]
    assert Cause.DAILY_LOSS in desk.state.modes.causes
    assert Cause.DRAWDOWN not in desk.state.modes.causes


def test_a_drawdown_kills_at_the_second_read_and_not_at_the_first() -> None:
    desk = in_a_trade()
    mark = mark_of_loss(desk, 0.16)
    seen_at(desk, mark)
    desk.wait(CONFIRM_S - 1)
    assert placed(seen_at(desk, mark)) == []  # twice, but too soon
    assert Cause.DRAWDOWN not in desk.state.modes.causes
    desk.wait(1)
    effects = seen_at(desk, mark)
    assert [order.role for order in placed(effects)] == [Role.EXIT]
    assert Cause.DRAWDOWN in desk.state.modes.causes
    assert desk.state.world.account.killed_at == desk.now
    assert seen_at(desk, mark) == []  # nothing is said or sent twice


def test_a_mark_that_was_wrong_for_a_moment_kills_nothing() -> None:
    desk = in_a_trade()
    bad = mark_of_loss(desk, 0.3)
    seen_at(desk, bad)
    desk.wait(5)
    seen_at(desk, 101.0)
    assert desk.state.watch.breach_ms == 0
    desk.wait(CONFIRM_S)
    seen_at(desk, bad)
    assert Cause.DRAWDOWN not in desk.state.modes.causes
    assert desk.state.world.positions[0].side != FLAT


def test_a_loss_that_a_person_has_looked_at_is_no_first_sight_of_the_next_one() -> None:
    desk = in_a_trade()
    seen_at(desk, mark_of_loss(desk, 0.16))
    desk.say(Command.RESUME, "looked at")
    desk.wait(CONFIRM_S)
    seen_at(desk, mark_of_loss(desk, 0.3))
    assert Cause.DRAWDOWN not in desk.state.modes.causes


def test_the_fast_drawdown_is_from_the_peak_within_its_window() -> None:
    desk = in_a_trade()
    world = desk.state.world
    world.params.fast_window_ms = 3_600_000
    peak = recent_peak(world, desk.now)
    assert peak == max(world.account.equity, peak) > 2_000.0
    assert recent_peak(world, desk.now + 2 * 3_600_000) == 0.0


def test_an_outage_is_one_error_however_long_it_is() -> None:
    desk = Desk()
    for number in range(ERROR_BURST):
        for active in (True, True, False):
            desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, active))
        assert len(desk.state.error_times) == number + 1
    assert Cause.EXCHANGE_ERRORS not in desk.state.modes.causes
    desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, True))
    assert Cause.EXCHANGE_ERRORS in desk.state.modes.causes
