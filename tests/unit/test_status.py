"""The one description of the bot, and its orders' way through the desk to the loop and back."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bot.core.kernel.codes import SHORT
from bot.core.messages import Command
from bot.core.modes import Cause
from bot.core.summary import trade_row
from bot.core.text import MOST_BYTES
from bot.shell.control import LONGEST_S, PATIENCE_S, STALLED_S, Commands
from bot.shell.status import describe, select
from tests.support.states import Desk, make_state


def test_fresh_state() -> None:
    told = describe(make_state(2))
    assert told["symbols"] == ["BTC-USDT-PERP", "ETH-USDT-PERP"]
    assert told["mode"] == "RUN"
    assert told["equity"] == told["wallet"] == told["deposits"] == 2_100.0
    empty = ("causes", "positions", "orders", "locked", "unprotected_seconds", "unrealised")
    assert not any(told[key] for key in empty)


def test_long_position_under_its_orders() -> None:
    desk = Desk()
    desk.enter()
    told = describe(desk.state)
    [held] = told["positions"]
    assert (held["symbol"], held["side"], held["strategy"]) == ("BTC-USDT-PERP", "long", "momentum")
    assert (held["contracts"], held["covered"], held["quantity"]) == (10.0, 10.0, 10.0)
    assert (held["entry_price"], held["mark"]) == (101.1, 101.0)
    assert held["notional"] == pytest.approx(1_010.0)
    assert held["unrealised"] == told["unrealised"] == pytest.approx(-1.0)
    assert held["stop_price"] < 101.1 < held["target_price"]
    orders = {order["role"]: order for order in told["orders"]}
    assert set(orders) == {"stop", "target"}
    assert orders["stop"]["side"] == "sell"
    assert orders["stop"]["price"] == held["stop_price"]
    assert orders["stop"]["status"] == "open"
    assert told["wallet"] == pytest.approx(2_100.0 - told["fees"])


def test_short_position_gains_when_the_mark_falls() -> None:
    desk = Desk()
    desk.enter()
    desk.position.side = SHORT
    [held] = describe(desk.state)["positions"]
    assert held["side"] == "short"
    assert held["unrealised"] == pytest.approx(1.0)


def test_unprotected_time_is_that_of_the_worst_symbol() -> None:
    state = make_state(3)
    state.guards[0].uncovered_since = state.now_ms - 2_000
    state.guards[2].uncovered_since = state.now_ms - 7_500
    assert describe(state)["unprotected_seconds"] == 7.5


def test_causes_say_who_may_clear_them() -> None:
    desk = Desk()
    desk.say(Command.KILL, "because")
    told = describe(desk.state)
    assert told["mode"] == "FLATTEN"
    assert told["causes"] == [
        {
            "cause": "kill_switch",
            "since_ms": desk.now,
            "mode": "FLATTEN",
            "cleared_by": "radbot resume --reason",
        }
    ]


def test_locked_symbols_are_named() -> None:
    state = make_state(2)
    state.world.symbols[1].locked = 1
    assert describe(state)["locked"] == ["ETH-USDT-PERP"]


def test_contract_of_unknown_size_gives_no_wrong_figures() -> None:
    desk = Desk()
    desk.enter()
    desk.state.world.specs[0] = replace(desk.state.world.specs[0], multiplier=0.0)
    told = describe(desk.state)
    [held] = told["positions"]
    assert told["unrealised"] is None
    assert (held["quantity"], held["notional"], held["unrealised"]) == (None, None, None)
    assert held["contracts"] == 10.0


def test_description_is_json_and_shares_nothing_with_the_state() -> None:
    desk = Desk()
    desk.enter()
    told = describe(desk.state)
    before = json.dumps(told)
    desk.say(Command.KILL, "because")
    desk.fill("exit", 10.0, 100.0)
    assert json.dumps(told) == before


def test_trade_has_the_columns_of_the_trades_file() -> None:
    desk = Desk()
    desk.enter()
    desk.fill("stop", 10.0, 99.0)
    told = trade_row(desk.trades[0], list(desk.state.symbols))
    assert (told["symbol"], told["side"], told["reason"]) == ("BTC-USDT-PERP", "long", "stop")
    assert told["pnl"] == pytest.approx(-21.0 - told["fees"])


@pytest.mark.parametrize("command", ["positions", "balance"])
def test_parts_of_the_description(command: str) -> None:
    described = describe(make_state())
    part = select(command, described)
    assert 0 < len(part) < len(described)
    assert part.items() <= described.items()


class Room:
    """A desk of commands with a clock of the test's own; what was said in which order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.commands = Commands(
            self.pull, lambda: self.said.append("wake"), lambda: self.now, keepalive_s=0.001
        )
        self.desk = Desk()
        self.publish()

    def pull(self, reason: str, by: str) -> None:
        self.said.append(f"latch {reason} {by} with {self.commands.asked.qsize()} asked")

    def publish(self) -> None:
        self.commands.publish(describe(self.desk.state), [{"n": 1}, {"n": 2}, {"n": 3}])

    def ask(self, command: str, **fields: Any) -> Iterator[dict[str, Any]]:
        return self.commands.handle({"command": command, **fields})


def test_read_before_anything_was_published() -> None:
    commands = Commands(lambda reason, by: None)
    [answer] = commands.handle({"command": "status"})
    assert answer["code"] == 75
    assert "starting" in answer["error"]


def test_read_says_how_old_it_is() -> None:
    room = Room()
    room.now = 0.25
    [fresh] = room.ask("status")
    assert (fresh["age_s"], fresh["stalled"], fresh["done"]) == (0.25, False, True)
    assert fresh["equity"] == 2_100.0
    room.now = STALLED_S + 0.01
    [old] = room.ask("balance")
    assert old["stalled"] is True


def test_newest_trades() -> None:
    room = Room()
    assert next(room.ask("trades", last=2))["trades"] == [{"n": 2}, {"n": 3}]
    assert len(next(room.ask("trades"))["trades"]) == 3
    for last in (0, -1, 1_001):
        assert next(room.ask("trades", last=last))["code"] == 2


def test_order_is_accepted_taken_and_finished() -> None:
    room = Room()
    answers = room.ask("close", symbol="BTC-USDT-PERP", reason="r")
    assert next(answers) == {"accepted": True}
    [request] = room.commands.take()
    assert (request.command, request.fields["symbol"]) == ("close", "BTC-USDT-PERP")
    request.answer({"closing": ["BTC-USDT-PERP"]})
    request.finish({"flat": True})
    assert list(answers) == [{"closing": ["BTC-USDT-PERP"]}, {"flat": True, "done": True}]
    assert room.said == ["wake"]
    assert room.commands.take() == []


def test_kill_latches_before_anybody_is_asked() -> None:
    room = Room()
    next(room.ask("kill", reason="smoke", by="ann"))
    assert room.said == ["latch smoke ann with 0 asked", "wake"]


def test_kill_goes_on_when_the_latch_cannot_be_written() -> None:
    room = Room()

    def full(reason: str, by: str) -> None:
        raise OSError("disk full")

    room.commands.pull_latch = full
    answers = room.ask("kill", reason="smoke", by="ann")
    assert "disk full" in next(answers)["warning"]
    assert next(answers) == {"accepted": True}
    assert [request.command for request in room.commands.take()] == ["kill"]


def test_other_orders_do_not_latch() -> None:
    room = Room()
    for command in ("halt", "resume"):
        next(room.ask(command, reason="r"))
    assert room.said == ["wake", "wake"]


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"command": "resume"}, "expected a reason"),
        ({"command": "resume", "reason": "  "}, "expected a reason"),
        ({"command": "close", "symbol": "DOGE-USDT-PERP"}, "expected one of BTC-USDT-PERP, was"),
        ({"command": "close"}, "expected one of BTC-USDT-PERP"),
        ({"command": "dance"}, "expected one of status"),
    ],
)
def test_wrong_orders_do_not_reach_the_loop(request_: dict[str, Any], text: str) -> None:
    room = Room()
    [answer] = room.commands.handle(request_)
    assert (answer["code"], answer["done"]) == (2, True)
    assert text in answer["error"]
    assert room.commands.take() == []


def until_error(answers: Iterator[dict[str, Any]]) -> dict[str, Any]:
    [*before, last] = answers
    assert all(answer == {"waiting": True} for answer in before)
    return last


def test_order_that_nobody_takes_is_withdrawn() -> None:
    room = Room()
    answers = room.ask("resume", reason="r", timeout_s=5)
    next(answers)
    assert next(answers) == {"waiting": True}
    room.now = 5.0
    last = until_error(answers)
    assert (last["code"], last["done"]) == (75, True)
    assert "within 5 s" in last["error"]
    assert room.commands.take() == []  # nobody expects it any more


def test_kill_that_nobody_takes_in_time_is_still_obeyed() -> None:
    room = Room()
    answers = room.ask("kill", reason="r", timeout_s=5)
    next(answers)
    room.now = 5.0
    assert until_error(answers)["code"] == 75
    assert [request.command for request in room.commands.take()] == ["kill"]


def test_loop_that_hangs_after_taking_an_order_is_told() -> None:
    room = Room()
    answers = room.ask("kill", reason="r")
    next(answers)
    room.commands.take()
    room.now = PATIENCE_S - 0.01
    assert next(answers) == {"waiting": True}
    room.publish()
    room.now += PATIENCE_S - 0.01  # the loop has turned meanwhile
    assert next(answers) == {"waiting": True}
    room.now += 0.02
    last = until_error(answers)
    assert "stands still" in last["error"]
    assert "why" not in last


def test_loop_that_turns_but_does_not_get_done_is_told_apart() -> None:
    room = Room()
    answers = room.ask("kill", reason="r")
    next(answers)
    room.commands.take()
    room.now = LONGEST_S
    room.publish()
    assert until_error(answers)["why"] == "not_done"


def test_too_many_orders_are_turned_away() -> None:
    room = Room()
    waiting = [room.ask("halt") for _ in range(65)]
    first = [next(answers) for answers in waiting]
    assert first[:64] == [{"accepted": True}] * 64
    assert first[64]["code"] == 75


def test_every_cause_can_be_described() -> None:
    state = make_state()
    for cause in Cause:
        state.modes.tighten(cause, 1)
    assert len(describe(state)["causes"]) == len(Cause)


def test_words_of_people_are_clean_before_anybody_has_them() -> None:
    room = Room()
    next(room.ask("kill", reason="Stra\udcdfe", by="an\ud800n"))
    assert room.said == ["latch Stra?e an?n with 0 asked", "wake"]
    [request] = room.commands.take()
    assert request.fields["reason"] == "Stra?e"
    next(room.ask("halt", reason="x" * 5_000))
    [request] = room.commands.take()
    assert len(request.fields["reason"]) == MOST_BYTES
