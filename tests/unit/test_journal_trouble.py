"""What can go wrong with the journal's file, and what is said of it: full, locked, damaged, large,
written by another release, created under a narrow umask.
"""

import math
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bot.adapters import journal as journal_module
from bot.adapters.database_file import LOG_BYTES, log_size
from bot.adapters.journal import Journal
from bot.adapters.journal_errors import JournalError, JournalUnusableError
from bot.adapters.journal_reader import JournalReader
from bot.adapters.paper_store import PaperStore
from bot.core.messages import Effect, Event, Level, Notice, Tick
from bot.core.step import step
from bot.shell.offline import run_identity
from bot.shell.replay import replay
from tests.support.states import Desk, make_state


class Kept(Desk):
    """A desk whose every event is committed, if the journal can be written."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.failed = 0
        self.curve: list[float] = []
        super().__init__(warm=False)
        journal.begin_run("r", 0, run_identity(self.state.world), self.state)

    def feed(self, event: Event) -> list[Effect]:
        effects = step(self.state, event)
        self.effects += effects
        self.curve.append(self.state.world.account.equity)
        try:
            self.journal.commit([(event, effects)], self.state)
        except JournalError:
            self.failed += 1
        return effects


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal.open(path)
    yield made
    made.db.close()


@pytest.fixture
def desk(journal: Journal) -> Kept:
    return Kept(journal)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def numbers(journal: Journal, table: str = "events") -> list[int]:
    return [n for (n,) in journal.db.execute(f"SELECT n FROM {table} ORDER BY n")]


def replayed(path: Path) -> list[str]:
    with closing(JournalReader(path)) as reader:
        return [one.what for one in replay(reader).differences]


def test_numbers_go_on_without_a_gap_after_a_commit_that_failed_half_way(
    path: Path, journal: Journal, desk: Kept
) -> None:
    fails = "SELECT RAISE(FAIL, 'half way')"
    journal.db.execute(f"CREATE TEMP TRIGGER t BEFORE INSERT ON equity BEGIN {fails}; END")
    for _ in range(5):
        desk.bars(100.0)
    assert (desk.failed, numbers(journal)) == (5, [])
    journal.db.execute("DROP TRIGGER t")
    desk.bars(100.0)
    assert numbers(journal) == list(range(1, len(desk.curve) + 1))
    assert replayed(path) == []


def test_the_equity_of_each_bar_is_kept_while_the_file_is_locked(
    path: Path, journal: Journal, desk: Kept
) -> None:
    desk.bars(100.0)
    desk.bars(100.0)
    desk.bars(100.0)
    desk.enter()
    desk.curve.clear()
    with locked(path):
        desk.bars(102.0)
        desk.bars(101.5)
    desk.bars(103.0)
    kept = journal.db.execute("SELECT equity FROM equity ORDER BY n DESC LIMIT 3").fetchall()
    assert [equity for (equity,) in reversed(kept)] == desk.curve
    assert len(set(desk.curve)) == 3


def test_a_journal_that_was_locked_for_very_long_goes_on_and_shows_the_gap(
    path: Path, journal: Journal, desk: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MOST_PENDING", 6)
    desk.bars(100.0)
    with locked(path):
        for _ in range(10):
            desk.bars(100.0)
    assert (desk.failed, len(journal.pending), journal.lost) == (10, 6, 4)
    desk.bars(100.0)
    assert (desk.failed, journal.pending, journal.lost) == (10, [], 0)
    desk.bars(100.0)
    assert numbers(journal) == [1, *range(6, 14)]
    [told] = journal.db.execute("SELECT text FROM incidents WHERE kind = 'journal_gap'").fetchall()
    assert told[0].startswith("4 events")
    [gap] = replayed(path)
    assert "missing from 2" in gap


@pytest.mark.parametrize(
    "notice",
    [
        Notice(1, Level.WARNING, "x", -1, "Stra\udcdfe"),
        Notice(1, Level.WARNING, "x", -1, "nul \0 and more"),
    ],
    ids=["half a character", "nul"],
)
def test_any_text_can_be_written(journal: Journal, desk: Kept, notice: Notice) -> None:
    journal.commit([(Tick(1), [notice])], desk.state)
    [(text,)] = journal.db.execute("SELECT text FROM incidents").fetchall()
    assert text in ("Stra?e", "nul   and more")


def test_what_the_file_cannot_hold_is_an_error_of_the_journal(journal: Journal, desk: Kept) -> None:
    with pytest.raises(JournalError, match="cannot be written"):
        journal.commit([(Tick(1), [Notice(1, Level.WARNING, "x", 2**70, "")])], desk.state)
    journal.pending.clear()
    desk.state.world.symbols[0].mark = math.nan
    with pytest.raises(JournalError, match="cannot be written"):
        journal.commit([(Tick(2), [Notice(2, Level.WARNING, "x", -1, "")])], desk.state)
    desk.state.world.symbols[0].mark = 100.0
    journal.commit([], desk.state)
    assert numbers(journal) == [1]


def spoiled(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(sql)


def load(path: Path) -> None:
    journal = Journal.open(path)
    try:
        journal.load_state(make_state())
    finally:
        journal.close(clean=False)


def read(path: Path) -> None:
    with closing(JournalReader(path)) as reader:
        reader.identity()
        reader.load_state(make_state())


DAMAGE = {
    "no state": "DELETE FROM state WHERE part = 'positions'",
    "half a state": "UPDATE state SET body = substr(body, 1, 40) WHERE part = 'core'",
    "another shape": "UPDATE state SET body = '[]' WHERE part = 'account'",
    "a place too few": "UPDATE state SET body = '[]' WHERE part = 'positions'",
    "a list": "UPDATE state SET body = '[1]' WHERE part = 'core'",
    "odd bytes": "UPDATE state SET body = x'00' WHERE part = 'returns'",
    "schema": "UPDATE meta SET value = 'two' WHERE name = 'readable_from'",
    "newer": "UPDATE meta SET value = '9' WHERE name = 'readable_from'",
}


@pytest.mark.parametrize("use", [load, read])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_with_the_file_and_a_restart_does_not_help(
    path: Path, journal: Journal, desk: Kept, damage: str, use: Callable[[Path], None]
) -> None:
    journal.close(clean=True)
    spoiled(path, DAMAGE[damage])
    with pytest.raises(JournalUnusableError, match=r"journal\.sqlite3") as caught:
        use(path)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("use", [load, read])
def test_a_file_of_something_else_is_told(path: Path, use: Callable[[Path], None]) -> None:
    path.write_bytes(b"not a database " * 1_000)
    with pytest.raises(JournalUnusableError, match=r"journal\.sqlite3"):
        use(path)


def test_a_run_with_a_damaged_identity_is_told(path: Path, journal: Journal, desk: Kept) -> None:
    journal.close(clean=True)
    spoiled(path, "UPDATE runs SET identity = '{'")
    with closing(JournalReader(path)) as reader, pytest.raises(JournalUnusableError):
        reader.identity()


def test_a_new_journal_that_is_locked_is_worth_another_try(path: Path, journal: Journal) -> None:
    state = Desk(warm=False).state
    with locked(path), pytest.raises(JournalError, match="locked") as caught:
        journal.begin_run("r", 0, {}, state)
    assert caught.value.exit_code == 75


def test_a_bot_that_may_hold_something_starts_beside_a_locked_journal(
    path: Path, journal: Journal, desk: Kept
) -> None:
    for close in (100.0, 101.0, 100.0):
        desk.bars(close)
    journal.close(clean=False)
    with locked(path):
        again = Journal.open(path)
        state = again.load_state(Desk(warm=False).state)
        assert state is not None
        assert state.digest() == desk.state.digest()
        again.begin_run("r2", 0, run_identity(state.world), state)
        desk.journal, desk.state, desk.failed = again, state, 0
        desk.bars(101.0)
        assert desk.failed > 0
    desk.bars(100.0)
    assert again.pending == []
    assert [run for (run,) in again.db.execute("SELECT run_id FROM runs ORDER BY n")] == ["r", "r2"]
    assert numbers(again) == list(range(1, len(desk.curve) + 1))
    assert replayed(path) == []
    again.db.close()


def test_the_group_may_read_all_files_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with closing(PaperStore(tmp_path / "paper.sqlite3", durable=False)) as store:
            store.save({"x": 1}, {})
            journal = Journal.open(tmp_path / "journal.sqlite3")
            journal.begin_run("r", 0, {}, make_state())
            found = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
            journal.db.close()
    finally:
        os.umask(before)
    assert len(found) == 6
    assert set(found.values()) == {0o640}, found


def test_rights_that_an_older_release_left_are_put_right(path: Path, journal: Journal) -> None:
    journal.begin_run("r", 0, {}, make_state())
    files = list(path.parent.iterdir())
    journal.db.close()
    for file in files:
        file.chmod(0o600)
    with closing(Journal.open(path).db):
        assert {file.stat().st_mode & 0o777 for file in files} == {0o640}


def grow(desk: Kept, size: int) -> int:
    """Let bars pass until the log is cut; return how large it was at most."""
    largest = 0
    for _ in range(3 * size // 20_000):
        desk.bars(100.0)
        desk.journal.cut_log()
        now = log_size(desk.journal.path)
        if now < largest:
            return largest
        largest = now
    return largest


def test_the_log_is_cut_when_it_is_large(path: Path, desk: Kept) -> None:
    for _ in range(2):
        assert LOG_BYTES * 0.9 < grow(desk, LOG_BYTES) < LOG_BYTES * 1.1
        assert log_size(path) < LOG_BYTES / 10


def test_a_reader_only_delays_the_cut(
    path: Path, desk: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = 1_000_000
    monkeypatch.setattr(journal_module, "LOG_BYTES", small)
    desk.journal._log_limit = small
    desk.bars(100.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        while log_size(path) < 3 * small:
            desk.bars(100.0)
            desk.journal.cut_log()
    assert desk.failed == 0
    grow(desk, 2 * small)
    assert log_size(path) < small


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 0)])
def test_only_a_journal_that_need_not_last_leaves_writing_to_the_system(
    tmp_path: Path, durable: bool, level: int
) -> None:
    with closing(Journal.open(tmp_path / "j", durable=durable).db) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (level,)
    with closing(PaperStore(tmp_path / "p", durable=durable)) as store:
        assert store.db.execute("PRAGMA synchronous").fetchone() == (level,)


def test_a_run_with_something_unwritten_did_not_end_in_order(
    path: Path, journal: Journal, desk: Kept
) -> None:
    with locked(path):
        desk.bars(100.0)
        assert journal.pending
        journal.close(clean=True)
    again = Journal.open(path)
    assert not again.was_clean
    again.close(clean=True)  # no run began: it says nothing of the last one
    with closing(Journal.open(path).db) as db:
        assert db.execute("SELECT clean FROM runs").fetchall() == [(0,)]


@pytest.mark.parametrize("clean", [True, False])
def test_what_waits_is_offered_once_more_at_an_orderly_end(
    path: Path, journal: Journal, desk: Kept, clean: bool
) -> None:
    """After an exception the state is half changed: it is not written."""
    known = numbers(journal)
    with locked(path):
        desk.bars(100.0)
    missing = len(journal.pending)
    journal.close(clean=clean)
    again = Journal.open(path)
    assert again.was_clean is clean
    assert len(numbers(again)) == len(known) + (missing if clean else 0)
    again.close(clean=True)
    assert replayed(path) == []
