"""The journal: exact state, one transaction, nothing lost while it cannot be written, bounds."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from bot.adapters.journal import Journal
from bot.adapters.journal_errors import JournalError
from bot.adapters.journal_reader import JournalReader
from bot.adapters.journal_schema import BOUNDS, READABLE_FROM, SCHEMA_VERSION, TABLES
from bot.core.kernel.records import Trade
from bot.core.market import DAY_MS
from bot.core.messages import (
    Cycle,
    Effect,
    Event,
    Level,
    Notice,
    OrderFilled,
    PlaceOrder,
    Role,
    Tick,
    TradeClosed,
)
from bot.core.state import State
from bot.core.step import step
from tests.support.states import Desk, make_state

OPEN = ExitStack()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with OPEN:  # whatever a test opens is closed after it
        yield tmp_path / "journal.sqlite3"


def opened(path: Path) -> Journal:
    journal = Journal.open(path)
    OPEN.callback(journal.db.close)
    return journal


def reading(path: Path) -> JournalReader:
    reader = JournalReader(path)
    OPEN.callback(reader.close)
    return reader


def connected(path: Path) -> sqlite3.Connection:
    return OPEN.enter_context(closing(sqlite3.connect(path, isolation_level=None)))


class Kept(Desk):
    """A desk whose every event is committed."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        super().__init__()

    def feed(self, event: Event) -> list:  # type: ignore[type-arg]
        effects = step(self.state, event)
        self.effects += effects
        self.journal.commit([(event, effects)], self.state)
        return effects


def traded(journal: Journal) -> Desk:
    """Return a desk with an open position, a finished trade behind it, and a lost order."""
    desk = Kept(journal)
    desk.enter()
    desk.fill("stop", 10.0, 98.0)
    desk.cancelled("target")
    desk.signal_again()
    desk.accept("entry")
    desk.fill("entry", 4.0, 104.1)
    return desk


def restored(path: Path, template: State | None = None) -> State:
    journal = opened(path)
    state = journal.load_state(template or make_state())
    journal.close(clean=False)
    assert state is not None
    return state


def test_the_state_comes_back_to_the_bit(path: Path) -> None:
    journal = opened(path)
    desk = traded(journal)
    journal.close(clean=True)
    assert restored(path).digest() == desk.state.digest()
    assert len(desk.state.fill_ids) == 3


def test_a_reader_sees_it_beside_the_writer_and_after_it(path: Path) -> None:
    journal = opened(path)
    journal.begin_run("r1", 5, {"mode": "paper"}, make_state())
    desk = traded(journal)
    for _ in range(2):
        reader = reading(path)
        state = reader.load_state(make_state())
        assert state is not None
        assert state.digest() == desk.state.digest()
        assert reader.identity()["run_id"] == "r1"
        assert [trade.pnl for trade in reader.trades(5)] == [trade.pnl for trade in desk.trades]
        reader.close()
        journal.close(clean=False)


def test_nothing_else_is_written_for_a_tick_that_led_to_nothing(path: Path) -> None:
    journal = opened(path)
    before = journal.commits
    journal.commit([(Tick(1), [])], make_state())
    assert journal.commits == before


def events_in(path: Path) -> list[int]:
    reader = reading(path)
    return [event.now_ms for _, event, _ in reader.events(0)]


def test_a_full_disk_loses_and_doubles_nothing(path: Path) -> None:
    journal = opened(path)
    desk = Desk()
    journal.begin_run("r", 0, {}, desk.state)
    pages = journal.db.execute("PRAGMA page_count").fetchone()[0]
    journal.db.execute(f"PRAGMA max_page_count={pages}")
    told, failed = [], 0
    for close in (101.0, 100.0) * 40:
        effects = desk.bars(close)
        told.append((Cycle(desk.now, desk.now, ()), effects))
        try:
            journal.commit(told[-1:], desk.state)
        except JournalError:
            failed += 1
    assert failed > 5
    journal.db.execute("PRAGMA max_page_count=1000000")
    journal.commit([], desk.state)
    assert journal.pending == []
    assert events_in(path) == [event.now_ms for event, _ in told]
    assert restored(path).digest() == desk.state.digest()


def test_a_failed_commit_keeps_the_outcomes_in_order(path: Path) -> None:
    journal = opened(path)
    desk = Desk()
    other = connected(path)
    other.execute("BEGIN IMMEDIATE")
    outcomes = []
    for close in (101.0, 102.0, 103.0):
        effects = desk.bars(close)
        outcomes.append((Tick(desk.now), effects))
        with pytest.raises(JournalError, match="locked"):
            journal.commit(outcomes[-1:], desk.state)
    waiting = [rows[0][1][0] for rows in journal.pending]
    assert waiting == [event.now_ms for event, effects in outcomes if effects]
    other.execute("ROLLBACK")
    journal.commit([], desk.state)
    assert events_in(path) == [event.now_ms for event, effects in outcomes if effects]


@pytest.mark.parametrize("table", BOUNDS)
def test_no_table_grows_beyond_its_bound(
    path: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOUNDS, table, 7)  # type: ignore[arg-type]
    journal = opened(path)
    state = make_state()
    order = PlaceOrder("t-1-stop", 0, Role.STOP, -1, 5.0, 99.0, 8.0)
    for day in range(1, 30):
        now = day * DAY_MS
        state.now_ms = now
        effects: list[Effect] = [
            order,
            TradeClosed(Trade(exit_time=now)),
            Notice(now, Level.WARNING, "x", -1, "text"),
        ]
        fill = OrderFilled(now, "t-1-stop", f"f{day}", 1.0, 99.0, 0.0)
        journal.commit([(Cycle(now, now, ()), effects), (fill, [])], state)
        journal.begin_run(f"run {day}", now, {}, state)
    moment = "started_ms" if table == "runs" else "now_ms"
    count, newest = journal.db.execute(f"SELECT count(*), max({moment}) FROM {table}").fetchone()
    assert (count, newest) == (7, 29 * DAY_MS)


def test_trades_are_counted_as_far_back_as_they_are_kept(path: Path) -> None:
    journal = opened(path)
    assert journal.trade_counts() == (0, 0)
    for pnl in (1.0, -1.0, 0.0, 2.5, 3e-9):
        journal.commit([(Tick(1), [TradeClosed(Trade(pnl=pnl))])], make_state())
    assert journal.trade_counts() == (3, 2)


def test_the_journal_knows_which_incidents_people_have_been_told_of(path: Path) -> None:
    def warn(text: str) -> list[Effect]:
        return [Notice(6, Level.WARNING, "test", 0, text), Notice(6, Level.INFO, "reload", 0, text)]

    journal = opened(path)
    journal.commit([(Tick(5), warn("one"))], make_state())
    assert journal.untold() == [(6, "WARNING", "test", 0, "one")]
    journal.note_told()
    journal.commit([(Tick(5), warn("two"))], make_state())
    assert [row[4] for row in opened(path).untold()] == ["two"]  # as if this one were killed now
    journal.note_told()
    assert [row[4] for row in opened(path).untold()] == ["two"]  # with the next commit, or the end
    journal.close(clean=False)
    again = opened(path)
    assert again.untold() == []
    again.db.execute("DELETE FROM meta WHERE name = 'told_incidents'")  # of an older release
    assert opened(path).untold() == []


def test_other_tables_are_another_schema() -> None:
    known = (SCHEMA_VERSION, READABLE_FROM, hashlib.sha256(TABLES.encode()).hexdigest()[:16])
    assert known == (1, 1, "03bdd61a51507ac3"), (
        "the tables have changed: raise SCHEMA_VERSION; and READABLE_FROM, with a migration, where "
        "the release before cannot read them"
    )


def test_a_file_that_needs_a_newer_release_is_refused(path: Path) -> None:
    journal = opened(path)
    journal.db.execute("UPDATE meta SET value = '9' WHERE name IN ('schema', 'readable_from')")
    journal.close(clean=True)
    with pytest.raises(JournalError, match="schema 9"):
        opened(path)


def test_a_newer_file_that_we_can_read_is_opened(path: Path) -> None:
    journal = opened(path)
    desk = traded(journal)
    journal.db.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    journal.db.execute("ALTER TABLE trades ADD COLUMN mood TEXT")
    journal.close(clean=True)
    assert restored(path).digest() == desk.state.digest()
    again = opened(path)
    known = dict(again.db.execute("SELECT name, value FROM meta").fetchall())
    assert known["schema"] == "2"  # it stays a newer file, for the newer release


def test_other_symbols_are_refused(path: Path) -> None:
    journal = opened(path)
    traded(journal)
    journal.close(clean=True)
    with pytest.raises(JournalError, match="expected the symbols BTC-USDT-PERP"):
        restored(path, make_state(2))


def test_a_run_is_clean_only_when_it_was_closed_so(path: Path) -> None:
    journal = opened(path)
    assert journal.was_clean
    journal.begin_run("r", 0, {}, make_state())
    journal.close(clean=True)
    journal = opened(path)
    assert journal.was_clean
    journal.begin_run("r2", 0, {}, make_state())
    journal.close(clean=False)
    assert not opened(path).was_clean


def test_a_checkpoint_and_the_events_after_it_lead_to_the_state(path: Path) -> None:
    journal = opened(path)
    journal.begin_run("r", 0, {}, make_state())
    desk = traded(journal)
    reader = reading(path)
    [(first, _, run_id)] = reader.checkpoints()
    assert run_id == "r"
    state = reader.state_at(first, make_state())
    for _, event, effects in reader.events(first):
        assert step(state, event) == effects
    assert state.digest() == desk.state.digest()
