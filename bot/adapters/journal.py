"""The journal: everything the bot was told, decided and did, in one SQLite file with one writer.

`commit` is the durable line between deciding and acting. A commit that fails (disk full, file
locked) loses nothing: what it had to write waits in memory and goes with the next one that works.
Only a journal that cannot be written for days loses its oldest events, and says so.
"""

import base64
import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from bot.adapters.database_file import LOG_BYTES, LockWait, log_size, prepare, transaction
from bot.adapters.journal_errors import JournalError, guarded, reading
from bot.adapters.journal_schema import (
    BOUNDS,
    READABLE_FROM,
    SCHEMA_VERSION,
    TABLES,
    check_schema,
    state_parts,
    stored_state,
    stored_trades,
)
from bot.core.codec import encode, encode_member
from bot.core.kernel.records import Trade
from bot.core.market import DAY_MS
from bot.core.messages import (
    Cycle,
    Effect,
    Event,
    Level,
    Notice,
    PlaceOrder,
    Tick,
    TradeClosed,
)
from bot.core.state import State
from bot.core.text import clean

type Outcome = tuple[Event, list[Effect]]
type Row = tuple[object, ...]
type Entry = tuple[str, Row]
"""(table, its row without the number)"""
TOLD = "told_incidents"
BUSY_MS = 200
"""a locked file may hold one commit up this long, and with it an exit"""
MOST_PENDING = 20_000
"""events that wait for a journal that cannot be written; at one-minute bars these are days"""
AUDITED = ("operator", "resume", "reload")  # notices that are kept whatever their level
STARTS = "n IN (SELECT first_seq FROM runs)"
"""what makes a checkpoint that of a start"""
COLUMNS = {
    "runs": "n, run_id, started_ms, identity, first_seq",
    "events": "n, now_ms, event, effects",
    "intents": "n, now_ms, client_id, body",
    "fills": "n, now_ms, fill_id, body",
    "trades": "n, now_ms, body",
    "equity": "n, now_ms, equity",
    "daily": "n, now_ms, equity",
    "incidents": "n, now_ms, level, kind, symbol, text",
    "checkpoints": "n, now_ms, run_id, body",
}


class Journal:
    """The one writer. Not thread-safe; other processes read with JournalReader."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self.db = db
        self.path = path
        self.pending: list[list[Entry]] = []
        """what could not be written yet, event by event"""
        self.lost = 0
        """the oldest of it, for which there was no room"""
        self.commits = 0
        self.run_id = ""
        self._parts: dict[str, bytes] = {}
        self._state: State | None = None
        """the state that what waits leads to"""
        self._day = -1
        self._lock_wait = LockWait(db, BUSY_MS)
        self._log_limit = LOG_BYTES
        self._next = {
            table: int(db.execute(f"SELECT coalesce(max(n), 0) + 1 FROM {table}").fetchone()[0])
            for table in BOUNDS
        }
        """the number that the next row of each table gets"""
        self._stored_told = stored_told(db)
        newest = self._next["incidents"] - 1
        self.told = newest if self._stored_told is None else self._stored_told
        """incidents up to this number have been left for people to read"""
        row = db.execute("SELECT clean FROM runs ORDER BY n DESC LIMIT 1").fetchone()
        self.is_new = row is None
        self.was_clean = row is None or bool(row[0])
        """the last run ended in order; when it did not, orders may exist that are not written"""

    @classmethod
    def open(cls, path: Path, *, durable: bool = True) -> "Journal":
        """Open or found the journal at `path`. Without `durable` a power cut may cost the last
        commits; a crash of the process never does.

        Raises
        ------
        JournalError : it cannot be written
        JournalUnusableError : it is damaged, or was written by a newer release
        """
        db: sqlite3.Connection | None = None
        try:
            with reading(path):
                prepare(path)
                db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
                set_up(db, path, durable=durable)
                return cls(db, path)
        except (JournalError, OSError) as error:
            if db is not None:
                db.close()
            if isinstance(error, JournalError):
                raise
            raise JournalError(
                f"{path}: expected a journal that can be written, was: {error}"
            ) from error

    def begin_run(
        self, run_id: str, started_ms: int, identity: dict[str, str], state: State
    ) -> None:
        """Note that a run begins in `state`; replay starts here.

        Where there were runs before, there may be positions, and what cannot be written waits.
        Raises JournalError in a new journal.
        """
        self.run_id = run_id
        run = (run_id, started_ms, json.dumps(identity), self._next["events"])
        rows: list[Entry] = [("runs", run), ("checkpoints", self._checkpoint(state))]
        try:
            self._write(state, rows)
        except JournalError:
            if self.is_new:
                raise
            self.pending.append(rows)

    def commit(self, outcomes: Sequence[Outcome], state: State) -> None:
        """Make `outcomes`, and those still pending, and the state after them durable, at once.

        Raises
        ------
        JournalError : nothing was written; the outcomes wait for the next call
        """
        equity = state.world.account.equity
        told = [o for o in outcomes if o[1] or not isinstance(o[0], Tick)]
        self.pending += [rows_of(event, effects, equity) for event, effects in told]
        if not self.pending:
            return
        self._state = state
        rows = list(chain.from_iterable(self.pending))
        day = state.now_ms // DAY_MS
        if self.lost:
            text = f"{self.lost} events are not in the journal: it could not be written"
            rows.append(("incidents", (state.now_ms, "CRITICAL", "journal_gap", -1, text)))
        if self.lost or (day != self._day and self._day >= 0):
            rows.append(("checkpoints", self._checkpoint(state)))
        try:
            self._write(state, rows)
        except JournalError:
            excess = max(0, len(self.pending) - MOST_PENDING)
            del self.pending[:excess]
            self.lost += excess
            raise
        self._day = day
        self.pending, self.lost = [], 0

    def _checkpoint(self, state: State) -> Row:
        body = {name: base64.b64encode(part).decode() for name, part in state_parts(state).items()}
        body["fill_ids"] = json.dumps(list(state.fill_ids))
        body["params"] = json.dumps(encode(state.world.params))
        body["tiers"] = json.dumps(encode(state.world.tiers))
        # `n` is the first event after it, so that replay knows where to start.
        return (state.now_ms, self.run_id, json.dumps(body))

    def _write(self, state: State, rows: Sequence[Entry]) -> None:
        """Write everything in one transaction, or nothing."""
        numbers = dict(self._next)
        self._next["events"] += self.lost  # the gap is seen in the numbers
        try:
            changed = {k: v for k, v in state_parts(state).items() if self._parts.get(k) != v}
            with transaction(self.db):
                for table, row in rows:
                    self._insert(table, row)
                self.db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", changed.items())
                self._write_told()
        except (sqlite3.Error, ValueError, OverflowError) as error:  # or a value it cannot hold
            self._next = numbers
            self._lock_wait.set(0)  # whoever holds the file holds up one commit, not every one
            raise JournalError(
                f"{self.path}: cannot be written ({error}): no new positions until it can; "
                "make room on the disk, or end the program that holds the file"
            ) from error
        self._lock_wait.set(BUSY_MS)
        self._stored_told = self.told
        self._parts |= changed
        self.commits += 1

    def note_told(self) -> None:
        """Note that people can read of every incident so far; the next commit writes that."""
        self.told = self._next["incidents"] - 1

    def _write_told(self) -> None:
        if self.told != self._stored_told:
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (TOLD, str(self.told)))

    @guarded
    def untold(self) -> list[tuple[int, str, str, int, str]]:
        """Return the incidents that people may not have heard of, oldest first, each as (market
        time in ms, level, kind, symbol, text): the process died before, or just after, it told."""
        return self.db.execute(
            "SELECT now_ms, level, kind, symbol, text FROM incidents WHERE n > ? AND level <> ? "
            "ORDER BY n",
            (self.told, Level.INFO.value),
        ).fetchall()

    def _insert(self, table: str, row: Row) -> None:
        """Append a row, and drop the one that leaves the bound."""
        n = self._next["events"] if table == "checkpoints" else self._next[table]
        marks = ", ".join("?" * (len(row) + 1))
        self.db.execute(
            f"INSERT OR REPLACE INTO {table} ({COLUMNS[table]}) VALUES ({marks})",
            (n, *row),
        )
        if table == "checkpoints":
            # Those of starts are kept apart from the rest: no crash loop pushes out the midnights.
            for kind in (STARTS, f"NOT {STARTS}"):
                self.db.execute(
                    f"DELETE FROM checkpoints WHERE {kind} AND n NOT IN "
                    f"(SELECT n FROM checkpoints WHERE {kind} ORDER BY n DESC LIMIT ?)",
                    (BOUNDS[table],),
                )
            return
        self._next[table] = n + 1
        if n > BOUNDS[table]:
            self.db.execute(f"DELETE FROM {table} WHERE n <= ?", (n - BOUNDS[table],))

    def cut_log(self) -> None:
        """Move the write-ahead log into the file when it is large; a reader that is in the way is
        not waited for. It takes some 10 ms, so the caller does it when no order waits."""
        if log_size(self.path) < self._log_limit:
            return
        self._lock_wait.set(0)
        self._empty_log()
        self._lock_wait.set(BUSY_MS)
        self._log_limit = log_size(self.path) + LOG_BYTES

    def _empty_log(self) -> None:
        with suppress(sqlite3.Error):
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @guarded
    def load_state(self, template: State) -> State | None:
        """Return the state of the last commit, over the parameters and contracts of `template`;
        None when there is none."""
        state = stored_state(self.db, template)
        self._day = -1 if state is None else state.now_ms // DAY_MS
        return state

    @guarded
    def trades(self, last: int = BOUNDS["trades"]) -> list[Trade]:
        """Return the newest finished trades, oldest first."""
        return stored_trades(self.db, last)

    @guarded
    def trade_counts(self) -> tuple[int, int]:
        """Return how many of the finished trades have won, and how many have not."""
        won, known = self.db.execute(
            "SELECT count(*) FILTER (WHERE json_extract(body, '$.pnl') > 0.0), count(*) FROM trades"
        ).fetchone()
        return won, known - won

    @guarded
    def daily(self) -> list[tuple[int, float]]:
        """Return (00:00 UTC, equity)."""
        return self.db.execute("SELECT now_ms, equity FROM daily ORDER BY n").fetchall()

    def close(self, *, clean: bool) -> None:
        """Close the file. `clean` says that the run ended in order: what waits is offered once
        more, and when it is written, the run has sent nothing that is not."""
        if clean and self._state is not None:
            with suppress(JournalError):
                self.commit([], self._state)
        with suppress(sqlite3.Error):
            self._write_told()
            if clean and self.run_id and not self.pending:
                self.db.execute("UPDATE runs SET clean = 1 WHERE n = (SELECT max(n) FROM runs)")
        self._empty_log()
        self.db.close()


def set_up(db: sqlite3.Connection, path: Path, *, durable: bool) -> None:
    """Make a connection the writer's, and the tables if they are not there."""
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
    # Readers must be able to open the file at any time, also after we are gone.
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
    found = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()
    stamp = [("readable_from", str(READABLE_FROM)), ("schema", str(SCHEMA_VERSION))]
    # Nothing is written where nothing is missing: a full disk keeps nobody from their positions,
    # and what a newer release has written stays a newer file.
    if found[0] and check_schema(db, path) >= SCHEMA_VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    for statement in TABLES.split(";"):
        db.execute(statement)
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", stamp)
    db.execute("COMMIT")


def stored_told(db: sqlite3.Connection) -> int | None:
    """Return up to which incident people have been told, None where that was never noted."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (TOLD,)).fetchone()
    return None if row is None else int(row[0])


def rows_of(event: Event, effects: Sequence[Effect], equity: float) -> list[Entry]:
    """Return what an event and what was decided on it add to the tables; `equity` is after it."""
    now = event.now_ms
    body = json.dumps(encode_member(event))
    rows: list[Entry] = [
        ("events", (now, body, json.dumps([encode_member(effect) for effect in effects])))
    ]
    entry_id = str(getattr(event, "entry_id", ""))
    if entry_id:
        rows.append(("fills", (now, entry_id, body)))
    if isinstance(event, Cycle):
        rows.append(("equity", (now, equity)))
        if now % DAY_MS == 0:
            rows.append(("daily", (now, equity)))
    return rows + [row for effect in effects for row in effect_rows(effect, now)]


def effect_rows(effect: Effect, now: int) -> list[Entry]:
    """Return what an effect adds to the tables besides that of events."""
    if isinstance(effect, PlaceOrder):
        return [("intents", (now, effect.client_id, json.dumps(encode(effect))))]
    if isinstance(effect, TradeClosed):
        return [("trades", (now, json.dumps(encode(effect.trade))))]
    if isinstance(effect, Notice) and (effect.level is not Level.INFO or effect.kind in AUDITED):
        text = clean(effect.text)
        row = (effect.now_ms, effect.level.value, effect.kind, effect.symbol, text)
        return [("incidents", row)]
    return []
