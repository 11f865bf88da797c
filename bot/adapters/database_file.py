"""The files of an SQLite database: who may read them, how large its write-ahead log is, and how
they are written."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MODE = 0o640
"""the group reads: dashboard and notifier (DESIGN section 6)"""
LOG_BYTES = 8 * 2**20
"""a write-ahead log larger than this is moved into its database and cut"""


def prepare(path: Path) -> None:
    """Make the file, or its rights right, before it is opened: SQLite gives the files beside it the
    rights that it finds. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, MODE))
    for file in (path, log_of(path), path.with_name(f"{path.name}-shm")):
        with suppress(FileNotFoundError):  # by the umask, or by an older release, they are narrower
            if file.stat().st_mode & 0o777 != MODE:
                file.chmod(MODE)


def log_of(path: Path) -> Path:
    """Return the write-ahead log of a database."""
    return path.with_name(f"{path.name}-wal")


def log_size(path: Path) -> int:
    """Return how large the write-ahead log of a database is, bytes."""
    try:
        return log_of(path).stat().st_size
    except OSError:
        return 0


class LockWait:
    """How long a write waits where somebody else has locked the file; SQLite is told of a change
    only."""

    def __init__(self, db: sqlite3.Connection, ms: int) -> None:
        """Begin with what the connection was opened with."""
        self.db, self.ms = db, ms

    def set(self, ms: int) -> None:
        if ms != self.ms:
            self.ms = ms
            with suppress(sqlite3.Error):
                self.db.execute(f"PRAGMA busy_timeout={ms}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write what the block writes, all of it or nothing; on return it survives a crash."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")
        raise
