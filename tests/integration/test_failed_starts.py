"""Starts that fail again and again by an exception: counted, then protect and halt (P8)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bot.core.errors import InputError, InvariantError
from bot.core.kernel.codes import FLAT
from bot.core.messages import CancelOrder, Command, FundingSettled, Operator, PlaceOrder, Role
from bot.core.modes import Cause
from bot.core.orders import Status
from bot.core.reconcile import Snapshot
from bot.shell.control import Request
from bot.shell.failed_starts import MOST_FAILED, PROVED_CYCLES, FailedStarts
from bot.shell.state_folder import FAILED_STARTS
from tests.support.drills import CONFIG, Drill

BAR_TURNS = CONFIG.timeframe_ms // 2_500


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    made = Drill(tmp_path, "bar", 3, ())
    yield made
    made.close()


def bot_of(drill: Drill) -> Any:
    """Return what a start sees of a bot."""
    return SimpleNamespace(engine=drill.engine, recover=lambda config, now: None)


def begin(drill: Drill, error: Exception | None = None, bot: Any = None) -> FailedStarts:
    """Begin a run as the service does; end it by `error`."""
    starts = FailedStarts(drill.folder)
    with starts.watching(bot or bot_of(drill), drill.daemon):
        if error is not None:
            raise error
    return starts


def fail(drill: Drill, times: int = MOST_FAILED) -> None:
    for number in range(times):
        with pytest.raises(InvariantError):
            begin(drill, InvariantError(f"broken {number}"))


def test_ends_by_an_exception_are_counted(drill: Drill) -> None:
    fail(drill)
    with pytest.raises(KeyError):
        begin(drill, KeyError("x"))
    assert FailedStarts(drill.folder).known() == ["InvariantError: broken 1", "KeyError: 'x'"]


def test_an_end_with_an_exit_code_of_its_own_is_not_counted(drill: Drill) -> None:
    with pytest.raises(InputError):
        begin(drill, InputError("bad"))
    begin(drill)
    assert FailedStarts(drill.folder).known() == []


def test_a_start_that_decides_some_bars_was_good(drill: Drill) -> None:
    fail(drill, MOST_FAILED - 1)
    begin(drill)
    for _ in range((PROVED_CYCLES - 1) * BAR_TURNS + 1):
        drill.turn()
    assert len(FailedStarts(drill.folder).known()) == MOST_FAILED - 1
    for _ in range(BAR_TURNS):
        drill.turn()
    assert not (drill.folder / FAILED_STARTS).exists()
    assert not drill.engine.careful


def test_a_count_that_cannot_be_read_is_none(drill: Drill) -> None:
    for text in ("[", "3", '{"a": 1}x'):
        (drill.folder / FAILED_STARTS).write_text(text)
        assert FailedStarts(drill.folder).known() == []


class Poisoned:
    """A venue whose reads hold a record that the core cannot take."""

    def __init__(self, drill: Drill) -> None:
        self.read = drill.venue.snapshot
        self.broken = False

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        if self.broken:
            raise KeyError("a field of the exchange's answer")
        seen = self.read(asked, since_ms, now)
        return replace(seen, entries=(*seen.entries, FundingSettled(now, 99, 1.0, "f99")))


@pytest.fixture
def poisoned(drill: Drill) -> Poisoned:
    """A bot in a position whose account then says something that the core cannot take."""
    while all(pos.side == FLAT for pos in drill.state.world.positions):
        drill.turn()
    made = Poisoned(drill)
    drill.venue.snapshot = made.snapshot  # type: ignore[method-assign]
    return made


def bars(drill: Drill, count: int) -> None:
    for _ in range(count * BAR_TURNS):
        drill.turn()


def test_after_two_failures_the_bot_protects_and_halts(drill: Drill, poisoned: Poisoned) -> None:
    fail(drill)
    begin(drill)
    state = drill.state
    bars(drill, 2)
    assert Cause.RECOVERY_FAILED in state.modes.causes
    assert state.modes.name == "HALT"
    k = next(k for k, pos in enumerate(state.world.positions) if pos.side != FLAT)
    for order in drill.market.exchange.book.resting(k, Role.STOP):  # somebody takes its stop away
        drill.market.cancel(CancelOrder(order.client_id, k), state.now_ms)
    bars(drill, 2)
    assert "f99" not in state.fill_ids
    assert state.covered(k) >= state.world.positions[k].contracts
    drill.watch()
    drill.check()
    assert not any(o.role is Role.ENTRY for o in state.orders.values())
    kinds = [path.read_text() for path in (drill.folder / "outbox").glob("*.json")]
    assert sum('"recovery_failed"' in text for text in kinds) == 1
    assert sum('"event_left_out"' in text for text in kinds) == 1
    assert drill.replayed() > 0


def test_a_read_that_raises_is_then_an_outage(drill: Drill, poisoned: Poisoned) -> None:
    fail(drill)
    begin(drill)
    poisoned.broken = True
    bars(drill, 1)
    assert Cause.EXCHANGE_UNREACHABLE in drill.state.modes.causes
    poisoned.broken = False
    bars(drill, 1)
    assert Cause.EXCHANGE_UNREACHABLE not in drill.state.modes.causes


def test_an_order_that_raises_is_then_one_without_an_answer(
    drill: Drill, poisoned: Poisoned
) -> None:
    fail(drill)
    begin(drill)
    state, submit = drill.state, drill.venue.submit

    def broken(order: PlaceOrder, now: int) -> None:
        raise KeyError("a field of the answer")

    drill.venue.submit = broken  # type: ignore[assignment,method-assign]
    k = next(k for k, pos in enumerate(state.world.positions) if pos.side != FLAT)
    drill.engine.feed(Operator(state.now_ms, Command.CLOSE, "r", k))
    [sent] = state.live_orders(k, Role.EXIT)
    assert sent.status is Status.UNRESOLVED
    drill.venue.submit = submit  # type: ignore[method-assign]
    bars(drill, 2)
    assert state.world.positions[k].side == FLAT


def test_its_recovery_waits_instead_of_raising(drill: Drill) -> None:
    fail(drill)
    bot = bot_of(drill)
    tries: list[int] = []

    def recover(config: object, now: int) -> None:
        tries.append(now)
        if len(tries) < 3:
            raise KeyError("x")

    bot.recover = recover
    begin(drill, bot=bot)
    drill.stop.wait = lambda seconds: None  # type: ignore[method-assign]
    assert drill.daemon.recover(lambda now: bot.recover(CONFIG, now))
    assert len(tries) == 3


def test_it_does_not_say_flat_when_only_its_books_are(drill: Drill, poisoned: Poisoned) -> None:
    fail(drill)
    begin(drill)
    request = Request("kill", {"reason": "r", "by": "ann"})
    drill.daemon.parts.obedience.start(request, drill.state.now_ms)
    assert request.answers.get_nowait()["code"] == 75  # the command goes to the exchange itself
    assert Cause.KILL_SWITCH in drill.state.modes.causes


def test_a_person_makes_it_an_ordinary_bot_again(drill: Drill, poisoned: Poisoned) -> None:
    fail(drill)
    begin(drill)
    bars(drill, 1)
    assert drill.engine.careful
    drill.engine.feed(Operator(drill.state.now_ms, Command.RESUME, "looked at"))
    assert not drill.engine.careful
    assert Cause.RECOVERY_FAILED not in drill.state.modes.causes
    assert FailedStarts(drill.folder).known() == []
    with pytest.raises(IndexError):
        bars(drill, 1)


def test_it_stays_careful_over_restarts_until_then(drill: Drill) -> None:
    fail(drill)
    begin(drill)
    (drill.folder / FAILED_STARTS).unlink()
    drill.engine.careful = False
    begin(drill)
    assert drill.engine.careful
