"""`core.step` and its promise: a position rests under an acknowledged stop of its size, or goes."""

import pytest

from bot.core.messages import Command, Condition, Level, OrderRejected, Role
from bot.core.modes import Cause
from tests.support.states import Desk, cancels, eager_params, make_state, notices, placed

# 2,100 USDT in the third balance tier: half of it at 101 x 1.003 buys 10 coins at leverage 8.
# Stop 2 % from the fill.
ENTRY_PRICE, STOP_PRICE = 101.1, 99.1


def in_a_trade() -> Desk:
    """Return a desk with 10 contracts from 101.1: entry #1 done, stop #2 and target #3 resting."""
    desk = Desk()
    desk.enter()
    return desk


def test_every_partial_fill_resizes_the_protection() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    first = desk.fill("entry", 4.0, ENTRY_PRICE)
    assert [(o.role, o.contracts) for o in placed(first)] == [(Role.STOP, 4.0), (Role.TARGET, 4.0)]
    desk.accept("stop")
    desk.accept("target")
    second = desk.fill("entry", 6.0, 101.3)
    stop, target = placed(second)
    assert (stop.contracts, target.contracts) == (10.0, 10.0)
    assert stop.price == 99.2  # 2 % below the average entry of 101.22
    # The old target is replaced at once, the old stop stays until the new one rests.
    assert cancels(second) == ["t-3-target"]
    assert desk.state.covered(0) == 4.0
    assert cancels(desk.accept("#4")) == ["t-2-stop"]
    assert desk.state.covered(0) == 10.0


def test_a_better_close_moves_the_stop_and_the_new_one_comes_first() -> None:
    desk = in_a_trade()
    effects = desk.bars(104.0)
    [stop] = placed(effects)
    assert (stop.client_id, stop.contracts, stop.price) == ("t-4-stop", 10.0, 102.0)
    assert cancels(effects) == []
    assert desk.state.covered(0) == 10.0
    assert cancels(desk.accept("#4")) == ["t-2-stop"]
    assert desk.state.covered(0) == 10.0
    desk.cancelled("#2")
    assert desk.state.covered(0) == 10.0


def test_a_refused_replacement_leaves_the_old_stop() -> None:
    desk = in_a_trade()
    desk.bars(104.0)
    effects = desk.reject("#4")
    assert placed(effects) == []
    assert cancels(effects) == []
    assert desk.state.covered(0) == 10.0
    assert placed(desk.wait(20)) == []
    # The next bar tries again.
    assert [order.price for order in placed(desk.bars(104.0))] == [102.0]


def denied() -> Desk:
    """Return a desk whose replacement #4 never left: there was no line."""
    desk = in_a_trade()
    desk.bars(104.0)
    desk.feed(OrderRejected(desk.now, "t-4-stop", "no connection", local=True))
    return desk


def test_a_replacement_that_never_left_is_sent_again_before_the_next_bar() -> None:
    desk = denied()
    assert placed(desk.wait(9)) == []  # the old one covers: there is no hurry
    [stop] = placed(desk.wait(2))
    assert (stop.contracts, stop.price) == (10.0, 102.0)
    assert placed(desk.wait(30)) == []
    assert cancels(desk.accept("#5")) == ["t-2-stop"]


def test_a_replacement_is_not_tried_while_the_exchange_is_out_of_reach() -> None:
    desk = denied()
    desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, True))
    assert placed(desk.wait(60)) == []
    effects = desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, False))
    assert [order.price for order in placed([*effects, *desk.wait(1)])] == [102.0]


def test_an_acknowledgement_that_comes_late_does_not_drop_the_newer_stop() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 4.0, ENTRY_PRICE)
    desk.fill("entry", 6.0, ENTRY_PRICE)
    desk.accept("#4")
    assert desk.state.covered(0) == 10.0
    assert "t-4-stop" not in cancels(desk.accept("#2"))
    assert desk.state.covered(0) >= 10.0


def test_a_stop_that_is_too_small_by_now_replaces_nothing() -> None:
    desk = Desk()
    desk.bars(101.0)
    for contracts in (4.0, 3.0, 3.0):
        desk.fill("entry", contracts, ENTRY_PRICE)
    desk.accept("#2")
    assert cancels(desk.accept("#4")) == []
    assert cancels(desk.accept("#6")) == ["t-2-stop", "t-4-stop"]
    assert desk.state.covered(0) == 10.0


def test_an_unchanged_level_places_nothing() -> None:
    desk = in_a_trade()
    assert placed(desk.bars(101.5)) == []


def test_an_uncovered_position_is_retried_told_about_and_closed() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)
    tries, alarms = [0], []
    for second in range(1, 16):
        rejected = desk.reject("stop")
        assert [n.level for n in notices(rejected, "order_rejected")] == [Level.CRITICAL]
        assert placed(rejected) == []  # not at once
        effects = desk.wait(1)
        alarms += [(second, n.level) for n in notices(effects, "uncovered")]
        if second < 15:
            [stop] = placed(effects)
            assert (stop.role, stop.contracts, stop.price) == (Role.STOP, 10.0, STOP_PRICE)
            tries.append(second)
        else:
            exit_, stop = placed(effects)  # the stop is wanted until the position is gone
            assert (exit_.role, exit_.contracts) == (Role.EXIT, 10.0)
            assert (stop.role, stop.contracts) == (Role.STOP, 10.0)
    assert tries == list(range(15))
    assert alarms == [(5, Level.CRITICAL)]


def test_how_long_a_position_may_be_uncovered_is_a_parameter() -> None:
    params = eager_params(uncovered_alert_ms=2_000, uncovered_close_ms=4_000)
    desk = Desk(make_state(params=params))
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)
    assert notices(desk.wait(1), "uncovered") == []
    assert [n.level for n in notices(desk.wait(1), "uncovered")] == [Level.CRITICAL]
    assert placed(desk.wait(1), Role.EXIT) == []
    assert [o.role for o in placed(desk.wait(1), Role.EXIT)] == [Role.EXIT]


def test_a_stop_without_an_answer_is_not_sent_twice() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)
    assert placed(desk.wait(14)) == []
    [exit_] = placed(desk.wait(1))
    assert exit_.role is Role.EXIT


def test_a_stop_that_the_exchange_cancels_is_placed_again() -> None:
    desk = in_a_trade()
    desk.wait(60)
    [stop] = placed(desk.cancelled("stop"))
    assert (stop.role, stop.contracts, stop.price) == (Role.STOP, 10.0, STOP_PRICE)


def test_a_stop_that_is_being_cancelled_is_not_relied_on() -> None:
    """Its level and size would do: the target has taken as much as the entry's second part gave."""
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    for contracts, stop in ((4.0, "#2"), (6.0, "#4")):
        desk.fill("entry", contracts, ENTRY_PRICE)
        desk.accept(stop)
    desk.accept("#5")
    desk.fill("#5", 6.0, 104.0)
    desk.wait(60)
    [stop] = placed(desk.cancelled("#4"), Role.STOP)
    assert (stop.contracts, stop.price) == (4.0, desk.position.stop_price)


def test_cover_in_time_ends_the_alarm() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)
    desk.wait(14)
    desk.accept("stop")
    assert placed(desk.wait(30)) == []
    # The next gap is counted from its own beginning and has an alarm of its own.
    desk.cancelled("stop")
    assert notices(desk.wait(4), "uncovered") == []
    assert [n.level for n in notices(desk.wait(1), "uncovered")] == [Level.CRITICAL]


def test_a_refused_exit_is_tried_again_after_a_second_and_not_at_once() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 10.0, ENTRY_PRICE)
    desk.wait(15)
    # At once would be a loop as fast as the exchange can refuse.
    assert placed(desk.reject("exit"), Role.EXIT) == []
    assert [o.role for o in placed(desk.wait(1)) if o.role is Role.EXIT] == [Role.EXIT]


def test_an_exit_is_never_larger_than_an_order_may_be_and_the_rest_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The largest order may be lowered below what is held."""
    desk = in_a_trade()
    monkeypatch.setattr(desk.state.world.specs[0], "max_contracts", 4.5)
    sizes = []
    effects = desk.say(Command.CLOSE, "drill", 0)
    while placed(effects, Role.EXIT):
        [part] = placed(effects, Role.EXIT)
        sizes.append(part.contracts)
        half = part.contracts / 2.0
        assert placed(desk.fill("exit", half, 101.0), Role.EXIT) == []
        effects = desk.fill("exit", half, 101.0)
    assert sizes == [4.0, 4.0, 2.0]
    assert desk.position.contracts == 0.0


def test_a_reduce_only_order_refused_after_the_position_is_gone_is_no_error() -> None:
    desk = in_a_trade()
    desk.bars(104.0)  # stop #4 is on its way when stop #2 fills
    desk.fill("#2", 10.0, 99.0)
    effects = desk.reject("#4", "no open position to close (300009)")
    assert [n for n in notices(effects) if n.level is not Level.INFO] == []
    assert desk.state.error_times == []
    assert desk.state.guards[0].error_streak == 0


def test_symbols_are_protected_each_for_itself() -> None:
    desk = Desk(make_state(2, params=eager_params(correlation_limit=2.0)))
    first, second = placed(desk.bars(101.0))
    assert (first.symbol, second.symbol) == (0, 1)
    desk.fill("#1", 10.0, ENTRY_PRICE)
    desk.accept("#3")
    effects = desk.fill("#2", 5.0, ENTRY_PRICE)
    assert [(o.symbol, o.contracts) for o in placed(effects)] == [(1, 5.0), (1, 5.0)]
    assert (desk.state.covered(0), desk.state.covered(1)) == (10.0, 0.0)
    [exit_] = placed(desk.wait(15), Role.EXIT)
    assert (exit_.symbol, exit_.contracts) == (1, 5.0)
