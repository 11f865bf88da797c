"""The loop around the engine: what it does first, whom it tells, how it starts and how it ends.

The real daemon, engine and journal on a simulated exchange; time is moved by hand.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.adapters.kucoin_client import CredentialsError
from bot.adapters.outbox import MOST_FILES, ulid
from bot.adapters.systemd import Notifier
from bot.core.errors import UnreachableError
from bot.core.kernel.codes import FLAT
from bot.core.messages import (
    Command,
    Cycle,
    Effect,
    Event,
    History,
    Level,
    Notice,
    Operator,
    OrderFilled,
    PlaceOrder,
    Role,
    Tick,
)
from bot.core.modes import Cause
from bot.core.state import State
from bot.shell.control import LONGEST_S, Request
from bot.shell.daemon import EXTEND_S, PRUNE_S, READY_S
from bot.shell.ending import REST_S, come_to_rest, unrest
from bot.shell.engine import Outcome
from bot.shell.obedience import Waiting
from bot.shell.untold import tell_untold
from bot.sim.faults import Moment
from tests.support.drills import CONFIG, INSTALLATION, STEP_MS, Drill
from tests.support.lasting import check_told

MOST_TURNS = 10_000


class Heard(Notifier):
    """A service manager that remembers."""

    def __init__(self) -> None:
        super().__init__(None, 20.0)
        self.messages: list[str] = []

    def _send(self, message: str, wait_s: float = 0.0) -> None:
        self.messages.append(message.partition("=")[0])


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    with closing(Drill(tmp_path, "bar", 3, ())) as made:
        made.daemon.parts.notifier = Heard()
        yield made


def heard(drill: Drill) -> list[str]:
    notifier = drill.daemon.parts.notifier
    assert isinstance(notifier, Heard)
    return notifier.messages


def into_a_position(drill: Drill) -> None:
    while all(pos.side == FLAT for pos in drill.state.world.positions):
        drill.turn()


def messages(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "outbox").glob("*.json"))]


# Orders first, whatever listens.


def test_a_listener_that_fails_costs_no_order_and_nobody_else_a_word(
    drill: Drill, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []

    def broken(_event: Event, _effects: list[Effect]) -> None:
        raise OSError(28, "No space left on device")

    def listens(event: Event, _effects: list[Effect]) -> None:
        events.append(event)

    drill.daemon.parts.listeners += [broken, listens]
    into_a_position(drill)
    for _ in range(200):
        drill.turn()
    drill.check()  # among others: every position under its stop
    assert drill.venue.counts[Role.STOP, Moment.SEND] > 0
    assert sum(isinstance(event, Cycle) for event in events) == drill.state.world.account.cycles
    assert caplog.text.count("a listener has failed") == 1


def test_an_order_is_sent_before_anybody_hears_of_it(drill: Drill) -> None:
    story: list[str] = []
    submit = drill.venue.submit

    def sends(order: PlaceOrder, now: int) -> Event | None:
        story.append(f"sent {order.client_id}")
        return submit(order, now)

    def listens(_event: Event, effects: list[Effect]) -> None:
        story.extend(f"told {e.client_id}" for e in effects if isinstance(e, PlaceOrder))

    drill.venue.submit = sends  # type: ignore[method-assign]
    drill.daemon.parts.listeners.append(listens)
    into_a_position(drill)
    told = [line.removeprefix("told ") for line in story if line.startswith("told ")]
    assert len(told) >= 2  # the entry and its stop
    for name in told:
        assert story.index(f"sent {name}") < story.index(f"told {name}")


def test_messages_wait_until_the_orders_of_the_turn_are_out(drill: Drill, tmp_path: Path) -> None:
    into_a_position(drill)
    before = len(messages(tmp_path))
    warning = Notice(drill.state.now_ms, Level.WARNING, "test", 0, "one")
    drill.daemon.heard(Tick(drill.state.now_ms), [warning])
    assert len(messages(tmp_path)) == before
    drill.turn()
    assert len(messages(tmp_path)) > before
    assert messages(tmp_path)[before]["body"] == "BTC-USDT-PERP: one"


def test_no_message_is_lost_at_the_end(drill: Drill, tmp_path: Path) -> None:
    drill.daemon.tell(Level.WARNING, "test", "the last word", 7)
    drill.stop.asked = True
    assert drill.daemon.run() == 0
    [told] = messages(tmp_path)
    assert (told["body"], told["market_ms"]) == ("the last word", 7)
    assert abs(told["at_ms"] / 1000.0 - time.time()) < 60.0


def test_what_a_killed_process_had_decided_to_say_is_said_at_the_next_start_once(
    drill: Drill, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    into_a_position(drill)
    drill.turn()
    before = messages(tmp_path)
    drill.engine.feed(Operator(drill.state.now_ms, Command.KILL, "drill\x07"))
    waiting = [(m["kind"], m["body"]) for m in drill.daemon.parts.outbox.waiting]
    assert ("mode", "RUN -> FLATTEN: kill_switch") in waiting
    drill.daemon.parts.outbox.waiting.clear()  # it is killed before it comes to that
    for _ in range(2):  # the next one is killed before its first commit, too
        tell_untold(drill.daemon)
        drill.daemon.parts.journal.told = 0
    assert [(m["kind"], m["body"]) for m in messages(tmp_path)[len(before) :]] == waiting
    assert caplog.text.count("had not been left") == 1
    check_told(tmp_path, drill.state.symbols)


def test_a_message_that_could_not_be_left_is_not_taken_for_told(
    drill: Drill, tmp_path: Path
) -> None:
    journal, folder = drill.daemon.parts.journal, tmp_path / "outbox"
    drill.turn()
    assert journal.untold() == []
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("in the way")
    drill.engine.feed(Operator(drill.state.now_ms, Command.KILL, "drill"))
    drill.turn()
    assert "mode" in [kind for _, _, kind, _, _ in journal.untold()]
    folder.unlink()
    drill.turn()
    assert journal.untold() == []
    check_told(tmp_path, drill.state.symbols)


def test_a_key_that_is_refused_while_the_bot_runs_calls_a_person_once(
    drill: Drill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise CredentialsError("KuCoin 400006: the key is bound to another address")

    for _ in range(2):  # episodes
        with monkeypatch.context() as patched:
            patched.setattr(drill.venue, "snapshot", refused)
            for _ in range(20):
                drill.turn()
            assert Cause.EXCHANGE_UNREACHABLE in drill.state.modes.causes
        for _ in range(20):
            drill.turn()
        assert Cause.EXCHANGE_UNREACHABLE not in drill.state.modes.causes
    told = [m for m in messages(tmp_path) if m["kind"] == "credentials_refused"]
    assert [m["severity"] for m in told] == ["CRITICAL", "CRITICAL"]
    assert all("400006" in m["body"] for m in told)


def test_messages_are_pruned_at_the_start_and_every_hour(drill: Drill, tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    for number in range(MOST_FILES):
        (folder / f"{ulid(1_000, number)}.json").write_text("{}")
    for number in range(2):  # the oldest makes room
        old = folder / f"{ulid(1, number)}.json"
        old.write_text("{}")
        drill.turn()
        assert not old.exists()
        drill.clock.now_ms += int(PRUNE_S * 1000.0)
    assert len(messages(tmp_path)) == MOST_FILES


# The start.


class Work:
    """A recovery that fails as often as it is told to."""

    def __init__(self, drill: Drill, failures: int, during: Callable[[], None]) -> None:
        self.drill, self.failures, self.during = drill, failures, during
        self.calls = 0
        self.heard_before: list[str] = []

    def __call__(self, now: int) -> None:
        self.calls += 1
        self.heard_before = list(heard(self.drill))
        self.during()
        if self.calls <= self.failures:
            raise UnreachableError("nobody answers")


def passing(drill: Drill, step_ms: int) -> None:
    """Let pauses pass by themselves."""
    drill.stop.wait = lambda seconds: setattr(  # type: ignore[method-assign]
        drill.clock, "now_ms", drill.clock.now_ms + step_ms
    )


def test_ready_is_said_after_recovery_and_not_before(drill: Drill) -> None:
    work = Work(drill, 0, lambda: None)
    assert drill.daemon.recover(work)
    assert work.heard_before == ["EXTEND_TIMEOUT_USEC"]
    assert "READY" not in heard(drill)
    drill.stop.asked = True
    drill.daemon.run()
    assert heard(drill)[-1] == "READY"


def test_a_start_without_the_exchange_is_up_and_halted_after_its_time(drill: Drill) -> None:
    passing(drill, 5_000)
    began_ms = drill.clock.now_ms
    work = Work(drill, 8, lambda: None)
    assert drill.daemon.recover(work)
    assert work.calls == 9
    first = heard(drill).index("READY")
    assert "WATCHDOG" in heard(drill)[first:]
    assert heard(drill).count("READY") == 1
    assert drill.clock.now_ms - began_ms > READY_S * 1000.0
    assert Cause.EXCHANGE_UNREACHABLE not in drill.state.modes.causes


def test_a_line_that_fails_again_beside_recovery_does_not_end_the_start(drill: Drill) -> None:
    passing(drill, 1_000)

    def fails(_until_ms: int) -> None:
        raise UnreachableError("still nobody")

    drill.engine.pump = fails  # type: ignore[method-assign]
    assert drill.daemon.recover(Work(drill, 2, lambda: None))


def test_a_long_recovery_asks_for_time_at_its_steps(drill: Drill) -> None:
    def steps() -> None:
        for _ in range(300):  # ten minutes of bars, each taking two seconds
            drill.clock.now_ms += 2_000
            drill.engine.feed(History(drill.state.now_ms, (None,) * len(drill.state.symbols)))

    work = Work(drill, 0, steps)
    assert drill.daemon.recover(work)
    assert heard(drill).count("EXTEND_TIMEOUT_USEC") == 301
    assert EXTEND_S > 2.0
    drill.daemon.alive()  # it is over
    assert heard(drill).count("EXTEND_TIMEOUT_USEC") == 301


def test_deadlines_begin_when_the_bot_is_ready(drill: Drill) -> None:
    def long() -> None:
        drill.clock.now_ms += 600_000

    assert drill.daemon.recover(Work(drill, 0, long))
    heard(drill).clear()
    drill.venue.poll = lambda until_ms: None  # type: ignore[method-assign]
    drill.venue.snapshot = lambda *_: None  # type: ignore[assignment, method-assign]
    drill.stop.wait = lambda seconds: setattr(drill.stop, "asked", True)  # type: ignore[method-assign]
    drill.daemon.run()
    assert heard(drill) == ["READY", "WATCHDOG"]


# The end.


def test_a_stop_ends_between_two_events_however_many_are_waiting(drill: Drill) -> None:
    into_a_position(drill)
    cycles = drill.state.world.account.cycles

    def stops(event: Event, _effects: list[Effect]) -> None:
        drill.stop.asked |= isinstance(event, Cycle)

    drill.daemon.parts.listeners.append(stops)
    drill.clock.now_ms += 20 * CONFIG.timeframe_ms  # the loop was held up for twenty bars
    drill.daemon.turn()
    assert drill.state.world.account.cycles == cycles + 1
    assert drill.daemon.run() == 0
    assert drill.state.world.account.cycles == cycles + 1


def moving(drill: Drill) -> None:
    """Let time pass in pauses."""
    drill.stop.pause = lambda seconds: setattr(  # type: ignore[method-assign]
        drill.clock, "now_ms", drill.clock.now_ms + STEP_MS
    )


def test_positions_are_closed_before_the_end_when_that_is_wanted(drill: Drill) -> None:
    into_a_position(drill)
    moving(drill)
    modes: set[str] = set()

    def listens(_event: Event, _effects: list[Effect]) -> None:
        modes.add(drill.state.modes.name)

    drill.daemon.parts.listeners.append(listens)
    drill.stop.asked = True
    entries = drill.venue.counts[Role.ENTRY, Moment.SEND]
    come_to_rest(drill.daemon, close=True)
    assert modes == {"HALT", "RUN"}  # RUN again when it is over: the next start finds no trace
    assert drill.state.modes.name == "RUN"
    assert drill.state.flat
    assert all(held.side == FLAT for held in drill.market.exchange.ledger.held)
    assert drill.market.exchange.book.orders == {}
    assert drill.venue.counts[Role.ENTRY, Moment.SEND] == entries
    assert Cause.STOPPING not in drill.state.modes.causes
    drill.check()
    drill.close()
    assert drill.replayed() > 0


def test_what_does_not_close_in_time_stays_under_its_stop_and_is_told(
    drill: Drill, tmp_path: Path
) -> None:
    into_a_position(drill)
    moving(drill)
    submit = drill.venue.submit

    def refuses(order: PlaceOrder, now: int) -> Event | None:
        if order.role is Role.EXIT:
            raise UnreachableError("nobody answers")
        return submit(order, now)

    drill.venue.submit = refuses  # type: ignore[method-assign]
    drill.stop.asked = True
    began_ms = drill.clock.now_ms
    come_to_rest(drill.daemon, close=True)
    assert drill.clock.now_ms - began_ms <= REST_S * 1000.0 + STEP_MS
    held = drill.state.held
    assert held
    assert all(drill.state.covered(k) >= drill.state.world.positions[k].contracts for k in held)
    assert [told["kind"] for told in messages(tmp_path)].count("not_closed") == 1


def entries(drill: Drill) -> list[PlaceOrder]:
    """Return the entries in the exchange's book."""
    orders = drill.market.exchange.book.orders.values()
    return [order for order in orders if order.role is Role.ENTRY]


def stopped_at_an_entry(drill: Drill) -> None:
    """Let the wish to stop come the moment after an entry has been sent."""

    def stops(_event: Event, effects: list[Effect]) -> None:
        drill.stop.asked |= any(
            isinstance(effect, PlaceOrder) and effect.role is Role.ENTRY for effect in effects
        )

    drill.daemon.parts.listeners.append(stops)
    turn_until(drill, lambda: drill.stop.asked)
    moving(drill)


def turn_until(drill: Drill, done: Callable[[], bool]) -> None:
    for _ in range(MOST_TURNS):
        if done():
            return
        drill.turn()
    raise AssertionError("it never came")


def see_rest(drill: Drill) -> None:
    """See on the exchange that no entry waits and every position rests under its stop, also when
    the market has gone on for long."""
    assert entries(drill) == []
    book = drill.market.exchange.book
    for k, held in enumerate(drill.market.exchange.ledger.held):
        stops = [order.client_id for order in book.resting(k, Role.STOP)]
        assert sum(book.left[name] for name in stops) >= held.contracts


def test_a_stop_takes_back_an_entry_that_is_on_its_way(drill: Drill) -> None:
    stopped_at_an_entry(drill)
    assert entries(drill)
    come_to_rest(drill.daemon, close=False)
    see_rest(drill)
    assert drill.state.modes.name == "RUN"
    assert drill.state.flat
    drill.clock.now_ms += 10 * CONFIG.timeframe_ms
    for event in iter(lambda: drill.market.poll(drill.clock.now_ms), None):
        assert not isinstance(event, OrderFilled)
    drill.close()
    assert drill.replayed() > 0


def test_what_an_entry_bought_while_the_stop_came_rests_under_its_stop(tmp_path: Path) -> None:
    with closing(Drill(tmp_path, "tick", 3, ())) as drill:
        stopped_at_an_entry(drill)
        assert unrest(drill.state)
        come_to_rest(drill.daemon, close=False)
        see_rest(drill)
        drill.check()


def test_an_entry_is_not_sent_when_the_stop_came_before(drill: Drill) -> None:
    commit = drill.engine.commit
    assert commit is not None

    def stopped_meanwhile(outcomes: Sequence[Outcome], state: State) -> bool:
        effects = [effect for _, made in outcomes for effect in made]
        drill.stop.asked |= any(
            isinstance(effect, PlaceOrder) and effect.role is Role.ENTRY for effect in effects
        )
        return commit(outcomes, state)

    drill.engine.commit = stopped_meanwhile
    turn_until(drill, lambda: drill.stop.asked)
    assert entries(drill) == []
    assert drill.venue.counts[Role.ENTRY, Moment.SEND] == 0
    assert not any(order.role is Role.ENTRY for order in drill.state.orders.values())


def test_a_drawdown_flattens_latches_and_outlives_the_process(drill: Drill, tmp_path: Path) -> None:
    into_a_position(drill)
    account = drill.state.world.account
    account.peak_equity = 2.0 * account.equity  # half of it is lost
    turn_until(drill, lambda: drill.state.modes.name == "FLATTEN")
    latch = drill.daemon.parts.latches.read()
    assert latch is not None
    assert (latch.cause, latch.by) == ("drawdown", "radbot")
    turn_until(drill, lambda: drill.state.flat)
    assert all(held.side == FLAT for held in drill.market.exchange.ledger.held)
    assert drill.market.exchange.book.orders == {}
    sent = drill.venue.counts[Role.ENTRY, Moment.SEND]
    for _ in range(100):
        drill.turn()
    assert drill.venue.counts[Role.ENTRY, Moment.SEND] == sent
    # What the next process finds, whatever became of this one:
    template = State(drill.state.world, drill.state.symbols, INSTALLATION)
    with closing(JournalReader(tmp_path / "journal.sqlite3")) as reader:
        stored = reader.load_state(template)
    assert stored is not None
    assert stored.modes.name == "FLATTEN"
    assert Cause.DRAWDOWN in stored.modes.causes


def test_a_latch_that_nobody_told_of_flattens_a_running_bot(drill: Drill) -> None:
    into_a_position(drill)
    drill.daemon.parts.latches.pull("kill_switch", "the line was cut", "a person", 1)
    drill.turn()
    assert drill.state.modes.name == "FLATTEN"
    sent = drill.venue.counts[Role.ENTRY, Moment.SEND]
    drill.clock.now_ms += CONFIG.timeframe_ms
    drill.turn()
    assert all(held.side == FLAT for held in drill.market.exchange.ledger.held)
    assert drill.venue.counts[Role.ENTRY, Moment.SEND] == sent


def test_who_has_stopped_waiting_for_an_order_is_forgotten(drill: Drill) -> None:
    into_a_position(drill)
    obedience = drill.daemon.parts.obedience
    held = drill.state.held
    obedience.waiting.append(Waiting(Request("close", {}), held, drill.clock.monotonic(), 0))
    obedience.obey(drill.state.now_ms)
    assert len(obedience.waiting) == 1
    drill.clock.now_ms += int(LONGEST_S * 1000.0) + 1
    obedience.obey(drill.state.now_ms)
    assert drill.state.held == held
    assert obedience.waiting == []


def test_an_end_with_something_half_done_is_told(drill: Drill, tmp_path: Path) -> None:
    stopped_at_an_entry(drill)

    def nobody(*_: object) -> None:
        raise UnreachableError("nobody answers")

    drill.venue.cancel = drill.venue.snapshot = nobody  # type: ignore[method-assign,assignment]
    drill.venue.poll = lambda until: None  # type: ignore[method-assign]
    come_to_rest(drill.daemon, close=False)
    [told] = [told for told in messages(tmp_path) if told["kind"] == "not_at_rest"]
    assert "an entry is on its way" in told["body"]
