"""The watchdog is fed by progress and by nothing else: a hang starves it, an outage does not.

A real notify socket and the real daemon; time is moved by hand.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.journal_errors import JournalError
from bot.adapters.line_state import LineState
from bot.adapters.systemd import Notifier
from bot.core.errors import UnreachableError
from bot.core.kernel.codes import FLAT
from bot.core.messages import Condition, Cycle, Event, PlaceOrder, Role
from bot.core.modes import Cause
from bot.core.state import State
from bot.shell.engine import Outcome
from bot.sim.faults import Fault, Kind, Moment
from tests.support.drills import CONFIG, STEP_MS, Drill
from tests.support.notify_socket import NotifySocket

HOUR_STEPS = 3_600_000 // STEP_MS
MINUTE_STEPS = 60_000 // STEP_MS


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[NotifySocket]:
    with closing(NotifySocket(tmp_path)) as made:
        yield made


def drill(tmp_path: Path, manager: NotifySocket, *plan: Fault) -> Drill:
    made = Drill(tmp_path, "bar", 3, plan)
    made.daemon.parts.notifier = Notifier(manager.address, 20.0)
    return made


def turns(bot: Drill, count: int, manager: NotifySocket | None = None) -> int:
    """Take turns; return how many of them fed the watchdog (a socket holds few messages)."""
    fed = 0
    for _ in range(count):
        bot.turn()
        fed += manager is not None and "WATCHDOG=1" in manager.heard()
    return fed


def into_a_position(bot: Drill) -> None:
    while all(pos.side == FLAT for pos in bot.state.world.positions):
        bot.turn()


def test_every_turn_of_a_bot_that_trades_feeds_the_watchdog(
    tmp_path: Path, manager: NotifySocket
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        assert turns(bot, 100, manager) == 100
        assert bot.state.world.account.cycles == 100 * STEP_MS // CONFIG.timeframe_ms


def test_a_loop_that_turns_without_deciding_starves_the_watchdog(
    tmp_path: Path, manager: NotifySocket, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        turns(bot, MINUTE_STEPS)
        manager.heard()
        poll = bot.venue.poll
        bot.venue.poll = lambda until_ms: None  # type: ignore[method-assign]
        fed = 0
        for _ in range(2 * MINUTE_STEPS):
            bot.turn()
            fed = fed + 1 if "WATCHDOG=1" in manager.heard() else fed
        assert fed <= 75_000 // STEP_MS  # the cycle's deadline, and not one more
        assert "cycle: " in caplog.text
        bot.venue.poll = poll  # type: ignore[method-assign]
        assert turns(bot, MINUTE_STEPS, manager) > 0  # progress again


def last_fed_s(bot: Drill, manager: NotifySocket, minutes: int) -> float:
    """Return how long the watchdog is fed within so many minutes."""
    began_ms, last_ms = bot.clock.now_ms, 0
    for _ in range(minutes * MINUTE_STEPS):
        bot.turn()
        if "WATCHDOG=1" in manager.heard():
            last_ms = bot.clock.now_ms - began_ms
    return last_ms / 1000.0


def test_an_account_that_stands_still_starves_the_watchdog_while_cycles_go_on(
    tmp_path: Path, manager: NotifySocket, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        turns(bot, 2)
        manager.heard()
        cycles = bot.state.world.account.cycles
        bot.venue.snapshot = lambda *_: None  # type: ignore[assignment, method-assign]
        limit_s = bot.daemon.parts.progress.limits["account"]
        assert 0.0 < last_fed_s(bot, manager, 3) <= limit_s
        assert bot.state.world.account.cycles > cycles + 1
        missing = {line.partition("pinged: ")[2].partition(":")[0] for line in caplog.messages}
        assert missing - {""} == {"account"}


def test_cycles_without_data_starve_the_watchdog_unless_the_exchange_answers(
    tmp_path: Path, manager: NotifySocket, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        turns(bot, 2)
        manager.heard()
        poll, silent = bot.venue.poll, LineState(answers=0, budget=1.0, clock_offset_s=0.0)
        parts, nothing = bot.daemon.parts, (None,) * len(bot.state.symbols)

        def without_bars(until_ms: int) -> Event | None:
            event = poll(until_ms)
            return replace(event, bars=nothing) if isinstance(event, Cycle) else event

        bot.venue.poll = without_bars  # type: ignore[method-assign]
        bot.venue.check_equity = lambda ours: None  # type: ignore[method-assign]
        parts.line = lambda: silent
        limit_s = parts.progress.limits["data"]
        assert 0.0 < last_fed_s(bot, manager, 5) <= limit_s
        assert "data: " in caplog.text
        assert "cycle: " not in caplog.text
        # Questions are answered, with nothing in them: that is the market's doing.
        parts.line = lambda: replace(silent, answers=int(bot.clock.monotonic()))
        assert turns(bot, 5 * MINUTE_STEPS, manager) == 5 * MINUTE_STEPS
        # So is a market that is known to stand still.
        parts.line = lambda: None
        bot.engine.feed(Condition(bot.state.now_ms, Cause.STALE_DATA, True))
        manager.heard()
        assert turns(bot, 5 * MINUTE_STEPS, manager) == 5 * MINUTE_STEPS


def test_a_bot_that_offers_nothing_to_its_journal_starves_the_watchdog(
    tmp_path: Path, manager: NotifySocket, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        turns(bot, 2)
        manager.heard()
        bot.engine.commit = None
        last_s = last_fed_s(bot, manager, 3)
        assert last_s <= 60.0 + bot.daemon.parts.progress.limits["journal"]  # the next bar, and on
        assert "journal: " in caplog.text


def test_an_hour_on_a_full_disk_is_no_hang(
    tmp_path: Path, manager: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise JournalError("no room")

    with closing(drill(tmp_path, manager)) as bot:
        turns(bot, 2)
        monkeypatch.setattr(bot.journal, "commit", full)
        manager.heard()
        assert turns(bot, HOUR_STEPS, manager) == HOUR_STEPS


@pytest.mark.parametrize("hours", [1, 6])
def test_an_outage_of_hours_is_no_hang(tmp_path: Path, manager: NotifySocket, hours: int) -> None:
    outage = Fault(Kind.DISCONNECT, Role.ENTRY, Moment.FILL, 1, hours * 3_600.0)
    with closing(drill(tmp_path, manager, outage)) as bot:
        while not bot.venue.fired:
            bot.turn()
        began_ms, down_until = bot.clock.now_ms, bot.venue.down_until
        manager.heard()
        silent, sizes = 0, []
        while bot.clock.now_ms < down_until - STEP_MS:
            bot.turn()
            silent += "WATCHDOG=1" not in manager.heard()
            assert Cause.EXCHANGE_UNREACHABLE in bot.state.modes.causes
            if (bot.clock.now_ms - began_ms) % 1_800_000 < STEP_MS:
                sizes.append(len(bot.state.orders) + len(bot.state.fill_ids))
        assert silent == 0
        assert max(sizes) == min(sizes)  # nothing piles up
        turns(bot, 3 * MINUTE_STEPS)
        assert Cause.EXCHANGE_UNREACHABLE not in bot.state.modes.causes
        bot.check()
        told = [p.read_text() for p in (tmp_path / "outbox").glob("*.json")]
        assert sum("exchange_unreachable" in text for text in told) == 1  # one episode
        assert turns(bot, 10 * MINUTE_STEPS, manager) == 10 * MINUTE_STEPS


def test_a_position_that_stays_uncovered_starves_the_watchdog(
    tmp_path: Path, manager: NotifySocket
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        into_a_position(bot)
        manager.heard()

        def refuse(order: object, now: int) -> Event | None:
            return None  # taken, and nothing comes of it: an exchange that does not answer

        for order in list(bot.market.exchange.book.orders):
            bot.market.exchange.book.remove(order)
        bot.venue.submit = refuse  # type: ignore[assignment, method-assign]
        last = 0
        began_ms = bot.clock.now_ms
        for _ in range(2 * MINUTE_STEPS):
            bot.clock.now_ms += STEP_MS
            bot.daemon.turn()
            if "WATCHDOG=1" in manager.heard():
                last = bot.clock.now_ms - began_ms
        assert 20_000 <= last <= 40_000  # the deadline of 25 s, from when the bot could know


def test_a_journal_that_fails_is_told_once_and_trading_goes_on_with_exits_only(
    tmp_path: Path, manager: NotifySocket
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        into_a_position(bot)
        blocker = sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        sent = bot.venue.counts[Role.ENTRY, Moment.SEND]
        assert turns(bot, MINUTE_STEPS + 2, manager) > 0
        assert Cause.JOURNAL_FAILED in bot.state.modes.causes
        assert bot.venue.counts[Role.ENTRY, Moment.SEND] == sent
        blocker.execute("ROLLBACK")
        blocker.close()
        turns(bot, 2)
        assert Cause.JOURNAL_FAILED not in bot.state.modes.causes
        told = [p.read_text() for p in (tmp_path / "outbox").glob("*.json")]
        assert sum('"journal_failed"' in text for text in told) == 1
        turns(bot, 10)
        bot.check()
        bot.close()
        assert bot.replayed() > 0


def test_an_entry_that_could_not_be_written_is_not_sent(
    tmp_path: Path, manager: NotifySocket
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        commit, denied = bot.daemon.commit, []

        def fails_on_entries(outcomes: Sequence[Outcome], state: State) -> bool:
            commit(outcomes, state)
            wanted = [effect for _, effects in outcomes for effect in effects]
            entries = [e for e in wanted if isinstance(e, PlaceOrder) and e.role is Role.ENTRY]
            denied.extend(entries)
            return not entries

        bot.engine.commit = fails_on_entries
        while len(denied) < 2:
            bot.turn()
        assert bot.venue.counts[Role.ENTRY, Moment.SEND] == 0
        assert bot.state.flat


def test_a_process_that_has_grown_too_large_ends_with_75(
    tmp_path: Path, manager: NotifySocket
) -> None:
    with closing(drill(tmp_path, manager)) as bot:
        parts = bot.daemon.parts
        parts.memory_limit = 1_000
        parts.resident = lambda: 1_001
        assert bot.daemon.run() == 75
        assert manager.heard()[0] == "READY=1"
        [told] = [p.read_text() for p in (tmp_path / "outbox").glob("*.json")]
        assert "memory" in told


def test_so_does_one_that_grows_while_it_waits_for_the_exchange(
    tmp_path: Path, manager: NotifySocket
) -> None:
    sizes = iter((900, 1_000, 1_001))

    def away(_now: int) -> None:
        raise UnreachableError("away")

    with closing(drill(tmp_path, manager)) as bot:
        bot.daemon.parts.memory_limit = 1_000
        bot.daemon.parts.resident = lambda: next(sizes)
        assert not bot.daemon.recover(away)
        assert bot.daemon.code == 75
