"""`core.step` held back: errors, limits, conditions, the operator; and the state's digest."""

from typing import Any

import pytest

from bot.core.errors import InvariantError
from bot.core.kernel.codes import KILL, OPERATOR
from bot.core.messages import Command, Condition, Level, Operator, OrderRejected, Role, Tick
from bot.core.modes import Cause
from bot.core.state import ERROR_LOCK_MS, ERROR_QUIET_MS
from tests.support.states import Desk, cancels, eager_params, make_state, notices, placed

HOURS_4 = 4 * 3_600_000
MINUTE = 60_000


def in_a_trade(**changes: Any) -> Desk:
    """Return a desk with 10 contracts from 101.1 under an acknowledged stop and target."""
    desk = Desk(make_state(params=eager_params(**changes)))
    desk.enter()
    return desk


def refuse_stops(desk: Desk, count: int) -> list[str]:
    """Let the exchange refuse `count` stops, one each second; return the kinds of the notices."""
    kinds = []
    for _ in range(count):
        kinds += [n.kind for n in notices(desk.reject("stop"))]
        desk.wait(1)
    return kinds


def unprotected(**changes: Any) -> Desk:
    """Return a desk with a fresh position whose stop has no answer yet."""
    desk = Desk(make_state(params=eager_params(**changes)))
    desk.bars(101.0)
    desk.fill("entry", 10.0, 101.1)
    return desk


def causes(desk: Desk) -> set[Cause]:
    return set(desk.state.modes.causes)


# Errors of the exchange.


def test_five_errors_in_a_row_lock_the_symbol_for_fifteen_minutes() -> None:
    desk = unprotected(timeframe_ms=MINUTE)
    assert "symbol_locked" not in refuse_stops(desk, 4)
    assert "symbol_locked" in refuse_stops(desk, 1)
    locked_at = desk.now - 1_000
    desk.accept("stop")
    desk.fill("stop", 10.0, 99.0)
    effects = desk.signal_again()
    assert placed(effects) == []
    assert [n.kind for n in notices(effects)] == ["refused"]
    assert desk.state.modes.name == "RUN"  # the symbol, not the bot
    desk.feed(Tick(locked_at + ERROR_LOCK_MS - 1))
    assert desk.state.world.symbols[0].locked == 1
    desk.feed(Tick(locked_at + ERROR_LOCK_MS))
    assert desk.state.world.symbols[0].locked == 0


def test_an_accepted_order_ends_the_streak() -> None:
    desk = unprotected()
    refuse_stops(desk, 4)
    desk.accept("stop")
    desk.cancelled("stop")
    desk.wait(1)
    assert "symbol_locked" not in refuse_stops(desk, 1)


def test_orders_that_were_not_sent_are_no_errors_of_the_exchange() -> None:
    desk = unprotected()
    for _ in range(12):
        name = desk.find("stop").request.client_id
        denied = desk.feed(OrderRejected(desk.now, name, "no connection", local=True))
        assert [(n.level, n.kind) for n in notices(denied)] == [(Level.WARNING, "order_denied")]
        desk.wait(1)
    assert desk.state.guards[0].locked_until == 0
    assert causes(desk) == set()


def test_a_locked_symbol_is_still_protected() -> None:
    desk = unprotected()
    refuse_stops(desk, 5)
    assert desk.find("stop").request.contracts == 10.0


def test_more_than_ten_errors_in_an_hour_reduce_only_until_thirty_quiet_minutes() -> None:
    desk = unprotected()
    refuse_stops(desk, 10)
    assert causes(desk) == set()
    refused = desk.reject("stop")
    assert [n.level for n in notices(refused, "mode")] == [Level.CRITICAL]
    assert desk.state.modes.name == "REDUCE_ONLY"
    last_error = desk.now
    desk.wait(1)
    desk.accept("stop")
    desk.fill("stop", 10.0, 99.0)
    desk.feed(Tick(last_error + ERROR_QUIET_MS - 1))
    assert causes(desk) == {Cause.EXCHANGE_ERRORS}
    effects = desk.feed(Tick(last_error + ERROR_QUIET_MS))
    assert [n.kind for n in notices(effects)] == ["mode"]
    assert desk.state.modes.name == "RUN"


def test_errors_that_are_over_are_told_under_a_stricter_mode_too() -> None:
    desk = unprotected()
    refuse_stops(desk, 11)
    desk.accept("stop")
    desk.say(Command.HALT, "drill")
    last_error = desk.state.last_error_ms
    desk.feed(Tick(last_error + ERROR_QUIET_MS - 1))
    effects = desk.feed(Tick(last_error + ERROR_QUIET_MS))
    assert causes(desk) == {Cause.OPERATOR_HALT}
    assert [n.kind for n in notices(effects)] == ["errors_over"]  # so that it is in the journal


def test_ten_errors_of_an_earlier_hour_do_not_count() -> None:
    desk = unprotected()
    refuse_stops(desk, 10)
    desk.accept("stop")
    desk.feed(Tick(desk.now + 3_600_000))
    desk.cancelled("stop")
    refuse_stops(desk, 1)
    assert causes(desk) == set()


def test_resume_does_not_lift_the_error_breaker() -> None:
    desk = unprotected()
    refuse_stops(desk, 11)
    desk.say(Command.RESUME, "checked")
    assert causes(desk) == {Cause.EXCHANGE_ERRORS}


# Limits.


def test_daily_loss_reduces_only_until_the_next_utc_day() -> None:
    desk = in_a_trade(timeframe_ms=HOURS_4)  # entered at 16:00
    desk.fill("stop", 10.0, 79.0)  # 221 USDT and fees of 2,100: 10.6 %
    effects = desk.bars(79.0)
    assert [n.kind for n in notices(effects, "mode")] == ["mode"]
    assert causes(desk) == {Cause.DAILY_LOSS}
    assert desk.state.modes.name == "REDUCE_ONLY"
    desk.say(Command.RESUME, "I want it back")
    assert causes(desk) == {Cause.DAILY_LOSS}
    effects = desk.bars(79.0)  # 24:00
    assert causes(desk) == set()
    assert [n.kind for n in notices(effects, "mode")] == ["mode"]


def test_a_loss_of_less_than_the_limit_holds_nothing_back() -> None:
    desk = in_a_trade(timeframe_ms=HOURS_4)
    desk.fill("stop", 10.0, 81.5)  # 196 USDT: 9.4 %
    desk.bars(81.5)
    assert causes(desk) == set()


def test_drawdown_flattens_until_a_person_resumes() -> None:
    desk = in_a_trade(timeframe_ms=HOURS_4)
    effects = desk.bars(68.0)  # 331 USDT on paper: 15.8 %
    assert [n.level for n in notices(effects, "mode")] == [Level.CRITICAL]
    [exit_] = placed(effects)
    assert (exit_.role, exit_.contracts) == (Role.EXIT, 10.0)
    desk.fill("exit", 10.0, 68.0)
    assert desk.trades[0].reason == KILL
    for _ in range(8):
        desk.bars(68.0)
    assert causes(desk) == {Cause.DRAWDOWN}  # the daily loss went with its day
    desk.say(Command.RESUME, "reviewed")
    assert causes(desk) == set()
    # Measured anew from here: the old peak does not pull the switch again.
    desk.bars(68.0)
    assert causes(desk) == set()


def test_a_fast_drawdown_flattens_too() -> None:
    desk = in_a_trade()
    desk.fill("stop", 10.0, 79.0)  # 10.6 % from one hourly cycle to the next
    desk.bars(79.0)
    assert causes(desk) == {Cause.DAILY_LOSS, Cause.DRAWDOWN}
    assert desk.state.modes.name == "FLATTEN"


# Conditions that the shell observes.


def test_stale_data_comes_and_goes_by_itself() -> None:
    desk = Desk()
    effects = desk.feed(Condition(desk.now, Cause.STALE_DATA, True))
    assert [n.kind for n in notices(effects)] == ["mode"]
    assert placed(desk.bars(101.0)) == []
    desk.say(Command.RESUME, "impatient")
    assert causes(desk) == {Cause.STALE_DATA}
    desk.feed(Condition(desk.now, Cause.STALE_DATA, False))
    assert len(placed(desk.signal_again())) == 1


@pytest.mark.parametrize("cause", [Cause.KILL_SWITCH, Cause.DAILY_LOSS, Cause.EXCHANGE_ERRORS])
def test_the_shell_cannot_clear_what_is_not_a_condition(cause: Cause) -> None:
    desk = Desk()
    desk.feed(Condition(desk.now, cause, True))
    with pytest.raises(InvariantError, match=cause.label):
        desk.feed(Condition(desk.now, cause, False))


def test_halt_leaves_strategies_no_exit_but_keeps_stops() -> None:
    desk = in_a_trade()
    desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, True))
    assert placed(desk.bars(98.0)) == []  # in RUN the strategy leaves here
    [stop] = placed(desk.bars(104.0))
    assert (stop.role, stop.price) == (Role.STOP, 102.0)
    desk.accept("#4")
    [again] = placed([*desk.cancelled("#4"), *desk.wait(1)])
    assert again.role is Role.STOP
    # and the operator is obeyed
    [exit_] = placed(desk.say(Command.CLOSE, "drill", symbol=0))
    assert exit_.role is Role.EXIT


def test_reduce_only_leaves_strategies_their_exits() -> None:
    desk = in_a_trade()
    desk.feed(Condition(desk.now, Cause.STALE_DATA, True))
    [exit_] = placed(desk.bars(98.0))
    assert exit_.role is Role.EXIT


# The operator.


def test_kill_closes_everything_and_cancels_entries() -> None:
    desk = Desk(make_state(2, params=eager_params(correlation_limit=2.0)))
    desk.bars(101.0)
    desk.fill("#1", 10.0, 101.1)
    desk.accept("#3")
    desk.wait(2)
    effects = desk.say(Command.KILL, "drill")
    [exit_] = placed(effects)
    assert (exit_.symbol, exit_.role, exit_.contracts) == (0, Role.EXIT, 10.0)
    assert cancels(effects) == ["t-2-entry"]
    assert [n.level for n in notices(effects, "mode")] == [Level.CRITICAL]
    assert sorted(cancels(desk.fill("exit", 10.0, 100.9))) == ["t-3-stop", "t-4-target"]
    assert desk.trades[0].reason == KILL


def test_kill_holds_until_a_person_resumes() -> None:
    desk = in_a_trade()
    desk.say(Command.KILL, "drill")
    desk.fill("exit", 10.0, 100.9)
    assert placed(desk.say(Command.KILL, "again")) == []
    desk.feed(Tick(desk.now + 24 * 3_600_000))
    assert placed(desk.signal_again()) == []
    assert causes(desk) == {Cause.KILL_SWITCH}
    desk.say(Command.RESUME, "checked")
    assert desk.state.modes.name == "RUN"


def test_a_kill_while_an_exit_is_in_flight_sends_no_second_one() -> None:
    desk = in_a_trade()
    desk.say(Command.CLOSE, "drill", symbol=0)
    assert placed(desk.say(Command.KILL, "drill")) == []
    desk.fill("exit", 10.0, 100.9)
    assert desk.trades[0].reason == OPERATOR


def test_an_entry_that_fills_after_a_kill_is_closed_at_once() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.say(Command.KILL, "drill")
    # The cancellation comes too late: stay flat means leave now, not at the next bar.
    effects = [*desk.fill("entry", 10.0, 101.1), *desk.wait(1)]
    exits = placed(effects, Role.EXIT)
    assert [exit_.contracts for exit_ in exits] == [10.0]
    assert [o.contracts for o in placed(effects, Role.STOP)] == [10.0]


def test_an_exit_refused_in_flatten_is_tried_again_within_seconds() -> None:
    desk = in_a_trade()
    desk.say(Command.KILL, "drill")
    effects = [*desk.reject("exit"), *desk.wait(3)]
    assert [o.contracts for o in placed(effects, Role.EXIT)] == [10.0]


def test_what_an_exit_leaves_in_flatten_is_closed_too() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.fill("entry", 4.0, 101.1)
    desk.say(Command.KILL, "drill")
    desk.fill("entry", 6.0, 101.1)
    effects = [*desk.fill("exit", 4.0, 100.9), *desk.wait(2)]
    assert [o.contracts for o in placed(effects, Role.EXIT)] == [6.0]


def test_operator_halt_is_for_a_person_to_lift() -> None:
    desk = Desk()
    desk.say(Command.HALT, "looking")
    assert desk.state.modes.name == "HALT"
    assert placed(desk.bars(101.0)) == []
    desk.say(Command.RESUME, "looked")
    assert desk.state.modes.name == "RUN"


def test_close_leaves_one_position_and_no_other() -> None:
    desk = Desk(make_state(2, params=eager_params(correlation_limit=2.0)))
    desk.bars(101.0)
    desk.fill("#1", 10.0, 101.1)
    desk.fill("#2", 10.0, 101.1)
    [exit_] = placed(desk.say(Command.CLOSE, "drill", symbol=1))
    assert (exit_.symbol, exit_.role) == (1, Role.EXIT)
    assert placed(desk.say(Command.CLOSE, "again", symbol=1)) == []
    desk.fill("exit", 10.0, 101.0)
    assert desk.trades[0].reason == OPERATOR
    assert desk.state.modes.name == "RUN"


def test_close_without_a_position_is_said_and_nothing_else() -> None:
    effects = Desk().say(Command.CLOSE, "drill", symbol=0)
    assert [n.kind for n in notices(effects)] == ["operator"]
    assert len(effects) == 1


# The digest.


def test_equal_stories_have_equal_digests_and_others_do_not() -> None:
    assert in_a_trade().state.digest() == in_a_trade().state.digest()
    later = in_a_trade()
    later.bars(104.0)
    assert later.state.digest() != in_a_trade().state.digest()


def test_the_digest_covers_what_a_repeated_fill_is_recognised_by() -> None:
    one, two = in_a_trade(), in_a_trade()
    one.state.fill_ids["f99"] = None
    # The next event, a fill f99, would be ignored by one of them only.
    assert one.state.digest() != two.state.digest()


def test_a_close_that_is_refused_is_sent_again() -> None:
    desk = Desk()
    desk.enter()
    close = Operator(desk.now, Command.CLOSE, "delisting", 0)
    assert [order.role for order in placed(desk.feed(close))] == [Role.EXIT]
    desk.reject("exit")
    [again] = placed(desk.wait(1))
    assert (again.role, again.contracts) == (Role.EXIT, 10.0)
    desk.fill("exit", 10.0, 99.0)
    assert desk.state.guards[0].closing is False
    assert placed(desk.wait(5)) == []


def test_a_close_takes_an_entry_that_is_under_way_with_it() -> None:
    desk = Desk()
    desk.bars(101.0)
    desk.accept("entry")
    effects = desk.feed(Operator(desk.now, Command.CLOSE, "delisting", 0))
    assert cancels(effects) == ["t-1-entry"]
    # A part of it trades all the same: it is protected, and left at once.
    roles = [order.role for order in placed(desk.fill("entry", 4.0, 101.1))]
    assert Role.STOP in roles
    assert Role.EXIT in roles
    desk.fill("exit", 4.0, 101.0)
    desk.cancelled("entry")
    assert desk.position.contracts == 0.0
    assert desk.state.guards[0].closing is False


def test_a_bot_that_is_being_stopped_enters_nothing_and_says_nothing_of_it() -> None:
    desk = Desk()
    assert notices(desk.feed(Condition(desk.now, Cause.STOPPING, True))) == []
    assert desk.state.modes.name == "HALT"
    assert placed(desk.bars(101.0)) == []
    desk.feed(Condition(desk.now, Cause.STOPPING, False))
    assert desk.state.modes.name == "RUN"
