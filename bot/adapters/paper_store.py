"""The simulated exchange's own database: what an exchange would remember while the bot is dead.

Committed before the exchange answers. It belongs to the exchange and not to the bot, so the bot's
journal and this file never share a transaction.
"""

import json
import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bot.adapters.database_file import LOG_BYTES, LockWait, prepare, transaction
from bot.adapters.journal_errors import DAMAGED
from bot.core.errors import BotError, InputError

SCHEMA = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (n INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS finished (n INTEGER PRIMARY KEY, client_id TEXT, body TEXT NOT NULL);
"""
KEPT = 2_000  # rows of each table that can be asked for
OPEN_S = 5.0
"""how long an opening waits for a locked file"""
BUSY_MS = 200
"""a locked file may hold one save up this long, and with it an exit"""


class PaperStoreError(BotError):
    """The simulated exchange cannot write."""

    exit_code = 75


@contextmanager
def reading_account(path: Path) -> Iterator[None]:
    """Let whatever is wrong with a simulated account's file be an InputError that names it."""
    try:
        yield
    except (sqlite3.Error, pickle.UnpicklingError, OSError, *DAMAGED) as error:
        raise InputError(
            f"{path}: the simulated account cannot be read ({type(error).__name__}: {error}); "
            "restore a copy, or begin anew in another folder: --state DIR"
        ) from error


def check_same(path: Path, *, account: bool, journal: bool) -> None:
    """Raise InputError when there is a journal and the account that it belongs to is gone."""
    if journal and not account:
        raise InputError(
            f"{path}: expected the simulated account of the journal beside it, was a new one; "
            "restore a copy, or begin anew in another folder: --state DIR"
        )


def check_market(path: Path, wanted: dict[str, object], stored: object) -> None:
    """Raise InputError, with what differs, when an account belongs to another market."""
    known = stored if isinstance(stored, dict) else {}
    names = [name for name in {**wanted, **known} if wanted.get(name) != known.get(name)]
    if names:
        asked, found = (
            ", ".join(f"{name} {market[name]}" for name in names if name in market)
            for market in (wanted, known)
        )
        raise InputError(
            f"{path}: expected the market with {asked}, was one with {found}; "
            "use another --state, or remove this folder"
        )


class PaperStore:
    """One writer at a time: a second process waits for the file or is refused."""

    def __init__(self, path: Path, *, durable: bool, busy_ms: int = BUSY_MS) -> None:
        """Open or found the file. `busy_ms` is how long a save waits where it is locked."""
        self.path = path
        self.busy_ms = busy_ms
        with reading_account(path), ExitStack() as failed:
            prepare(path)
            self.db = sqlite3.connect(path, isolation_level=None, timeout=OPEN_S)
            failed.callback(self.db.close)
            self._lock_wait = LockWait(self.db, int(OPEN_S * 1000))
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            self.db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
            self.db.executescript(SCHEMA)
            self.numbers = {
                table: self.db.execute(f"SELECT coalesce(max(n), 0) FROM {table}").fetchone()[0]
                for table in ("entries", "finished")
            }
            self._lock_wait.set(busy_ms)
            failed.pop_all()

    def read(self, name: str) -> object | None:
        """Return a stored value, None when there is none."""
        row = self.db.execute("SELECT body FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def read_blob(self, name: str) -> bytes | None:
        """Return stored bytes, None when there are none."""
        row = self.db.execute("SELECT body FROM state WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def records(self) -> tuple[list[object], list[object]]:
        """Return the account's records and the finished orders, oldest first."""
        entries = self.db.execute("SELECT body FROM entries ORDER BY n").fetchall()
        finished = self.db.execute("SELECT body FROM finished ORDER BY n").fetchall()
        return [json.loads(e) for (e,) in entries], [json.loads(f) for (f,) in finished]

    def save(
        self,
        values: dict[str, object],
        blobs: dict[str, bytes],
        entries: Iterable[object] = (),
        finished: Iterable[tuple[str, object]] = (),
    ) -> None:
        """Write everything in one transaction; on return it survives a crash.

        Raises PaperStoreError: nothing was written.
        """
        numbers = dict(self.numbers)
        try:
            with transaction(self.db):
                for name, value in values.items():
                    self._put(name, json.dumps(value).encode())
                for name, blob in blobs.items():
                    self._put(name, blob)
                for body in entries:
                    self._append("entries", (json.dumps(body),), "(n, body) VALUES (?, ?)")
                for client_id, body in finished:
                    row = (client_id, json.dumps(body))
                    self._append("finished", row, "(n, client_id, body) VALUES (?, ?, ?)")
        except sqlite3.Error as error:
            self.numbers = numbers
            self._lock_wait.set(0)  # whoever holds the file holds up one save, not every one
            raise PaperStoreError(
                f"{self.path}: the simulated account cannot be written ({error}); make room on the "
                "disk, or end the program that holds the file"
            ) from error
        self._lock_wait.set(self.busy_ms)

    def _put(self, name: str, body: bytes) -> None:
        self.db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, body))

    def _append(self, table: str, row: tuple[str, ...], columns: str) -> None:
        self.numbers[table] += 1
        n = self.numbers[table]
        self.db.execute(f"INSERT INTO {table} {columns}", (n, *row))
        if n > KEPT:
            self.db.execute(f"DELETE FROM {table} WHERE n <= ?", (n - KEPT,))

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        self.db.close()
