"""The journal: everything the bot was told, decided and did, in one SQLite file with one writer.

`commit` is the durable line between deciding and acting. A commit that fails (disk full, file
locked) loses nothing: what it had to write waits in memory and goes with the next one that works.
"""

import base64
import json
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bot.adapters.journal_schema import (
    BOUNDS,
    READABLE_FROM,
    SCHEMA_VERSION,
    TABLES,
    JournalError,
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

type Outcome = tuple[Event, list[Effect]]
type Row = tuple[object, ...]
BUSY_MS = 200
"""a locked file may hold one commit up this long, and with it an exit"""
CHECKPOINT_COMMITS = 1_000
"""commits between two checkpoints of the write-ahead log"""
MOST_PENDING = 100_000
AUDITED = ("operator", "resume", "reload")  # notices that are kept whatever their level
COLUMNS = {
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
        self.pending: list[Outcome] = []
        """outcomes that could not be written yet"""
        self.commits = 0
        self.run_id = ""
        self._parts: dict[str, bytes] = {}
        self._day = -1
        self._busy_ms = BUSY_MS
        self._next = {
            table: int(db.execute(f"SELECT coalesce(max(n), 0) + 1 FROM {table}").fetchone()[0])
            for table in BOUNDS
        }
        row = db.execute("SELECT clean FROM runs ORDER BY n DESC LIMIT 1").fetchone()
        self.was_clean = row is None or bool(row[0])
        """the last run ended in order; when it did not, orders may exist that are not written"""

    @classmethod
    def open(cls, path: Path, *, durable: bool = True) -> "Journal":
        """Open or found the journal at `path`. Without `durable` a power cut may cost the last
        commits; a crash of the process never does.

        Raises
        ------
        JournalError : it cannot be written, is damaged, or was written by a newer release
        """
        db: sqlite3.Connection | None = None
        try:
            db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            db.execute("PRAGMA wal_autocheckpoint=0")
            # Readers must be able to open the file at any time, also after we are gone.
            db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
            found = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()
            if found[0]:
                check_schema(db, path)
            db.execute("BEGIN IMMEDIATE")
            for statement in TABLES.split(";"):
                db.execute(statement)
            db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("schema", str(SCHEMA_VERSION)), ("readable_from", str(READABLE_FROM))],
            )
            db.execute("COMMIT")
            path.chmod(0o640)
            return cls(db, path)
        except JournalError:
            if db is not None:
                db.close()
            raise
        except (sqlite3.Error, OSError) as error:
            if db is not None:
                db.close()
            raise JournalError(
                f"{path}: expected a journal that can be written, was: {error}"
            ) from error

    def begin_run(
        self, run_id: str, started_ms: int, identity: dict[str, str], state: State
    ) -> None:
        """Note that a run begins in `state`; replay starts here.

        Raises JournalError.
        """
        self.run_id = run_id
        row = (self._next["runs"], run_id, started_ms, json.dumps(identity), self._next["events"])
        self._next["runs"] += 1
        run = "INSERT INTO runs (n, run_id, started_ms, identity, first_seq) VALUES (?, ?, ?, ?, ?)"
        self._write(state, {"checkpoints": [self._checkpoint(state)]}, [(run, row)])

    def commit(self, outcomes: Sequence[Outcome], state: State) -> None:
        """Make `outcomes`, and those still pending, and the state after them durable, at once.

        Raises
        ------
        JournalError : nothing was written; the outcomes wait for the next call
        """
        self.pending += [o for o in outcomes if o[1] or not isinstance(o[0], Tick)]
        if len(self.pending) > MOST_PENDING:
            raise JournalError(f"{self.path}: cannot be written since {MOST_PENDING} events")
        if not self.pending:
            return
        rows = self._rows(self.pending, state)
        day = state.now_ms // DAY_MS
        if day != self._day and self._day >= 0:
            rows["checkpoints"] = [self._checkpoint(state)]
        self._write(state, rows, [])
        self._day = day
        self.pending = []

    def _rows(self, outcomes: Sequence[Outcome], state: State) -> dict[str, list[Row]]:
        """Return what the outcomes add to each table."""
        rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}
        for event, effects in outcomes:
            now = event.now_ms
            bodies = json.dumps([encode_member(effect) for effect in effects])
            rows["events"].append((now, json.dumps(encode_member(event)), bodies))
            entry_id = str(getattr(event, "entry_id", ""))
            if entry_id:
                rows["fills"].append((now, entry_id, json.dumps(encode_member(event))))
            if isinstance(event, Cycle):
                equity = (now, state.world.account.equity)
                rows["equity"].append(equity)
                if now % DAY_MS == 0:
                    rows["daily"].append(equity)
            for effect in effects:
                self._add_effect(rows, effect, now)
        return rows

    def _add_effect(self, rows: dict[str, list[Row]], effect: Effect, now: int) -> None:
        if isinstance(effect, PlaceOrder):
            rows["intents"].append((now, effect.client_id, json.dumps(encode(effect))))
        elif isinstance(effect, TradeClosed):
            rows["trades"].append((now, json.dumps(encode(effect.trade))))
        elif isinstance(effect, Notice) and (
            effect.level is not Level.INFO or effect.kind in AUDITED
        ):
            rows["incidents"].append(
                (now, effect.level.value, effect.kind, effect.symbol, effect.text)
            )

    def _checkpoint(self, state: State) -> Row:
        body = {name: base64.b64encode(part).decode() for name, part in state_parts(state).items()}
        body["fill_ids"] = json.dumps(list(state.fill_ids))
        body["params"] = json.dumps(encode(state.world.params))
        body["tiers"] = json.dumps(encode(state.world.tiers))
        # `n` is the first event after it, so that replay knows where to start.
        return (state.now_ms, self.run_id, json.dumps(body))

    def _write(
        self, state: State, rows: dict[str, list[Row]], extra: Sequence[tuple[str, Row]]
    ) -> None:
        """Write everything in one transaction, or nothing."""
        changed = {k: v for k, v in state_parts(state).items() if self._parts.get(k) != v}
        numbers = dict(self._next)
        try:
            self.db.execute("BEGIN IMMEDIATE")
            for sql, row in extra:
                self.db.execute(sql, row)
            for table, found in rows.items():
                for row in found:
                    self._insert(table, row)
            self.db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", changed.items())
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            self._next = numbers
            self._wait(0)  # whoever holds the file holds up one commit, not every one
            with suppress(sqlite3.Error):
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
            raise JournalError(
                f"{self.path}: cannot be written ({error}): no new positions until it can; "
                "make room on the disk, or end the program that holds the file"
            ) from error
        self._wait(BUSY_MS)
        self._parts |= changed
        self.commits += 1
        if self.commits % CHECKPOINT_COMMITS == 0:
            self._trim_log("PASSIVE")

    def _wait(self, busy_ms: int) -> None:
        """Set how long a commit waits for a locked file."""
        if busy_ms != self._busy_ms:
            self._busy_ms = busy_ms
            with suppress(sqlite3.Error):
                self.db.execute(f"PRAGMA busy_timeout={busy_ms}")

    def _insert(self, table: str, row: Row) -> None:
        """Append a row, and drop the one that leaves the bound."""
        n = self._next["events"] if table == "checkpoints" else self._next[table]
        marks = ", ".join("?" * (len(row) + 1))
        self.db.execute(
            f"INSERT OR REPLACE INTO {table} ({COLUMNS[table]}) VALUES ({marks})",
            (n, *row),
        )
        if table == "checkpoints":
            # The newest `bound` stay, and with each the events from it on.
            self.db.execute(
                "DELETE FROM checkpoints WHERE n NOT IN "
                "(SELECT n FROM checkpoints ORDER BY n DESC LIMIT ?)",
                (BOUNDS[table],),
            )
            return
        self._next[table] = n + 1
        self.db.execute(f"DELETE FROM {table} WHERE n <= ?", (n - BOUNDS[table],))

    def _trim_log(self, how: str) -> None:
        """Move the write-ahead log into the file; a reader that is in the way only delays it."""
        with suppress(sqlite3.Error):
            self.db.execute(f"PRAGMA wal_checkpoint({how})")

    def load_state(self, template: State) -> State | None:
        """Return the state of the last commit, over the parameters and contracts of `template`;
        None when there is none."""
        state = stored_state(self.db, template)
        self._day = -1 if state is None else state.now_ms // DAY_MS
        return state

    def trades(self, last: int = BOUNDS["trades"]) -> list[Trade]:
        """Return the newest finished trades, oldest first."""
        return stored_trades(self.db, last)

    def daily(self) -> list[tuple[int, float]]:
        """Return (00:00 UTC, equity)."""
        return self.db.execute("SELECT now_ms, equity FROM daily ORDER BY n").fetchall()

    def close(self, *, clean: bool) -> None:
        """Close the file. `clean` says that nothing was sent that is not written."""
        with suppress(sqlite3.Error):
            if clean and not self.pending:
                self.db.execute("UPDATE runs SET clean = 1 WHERE n = (SELECT max(n) FROM runs)")
            self._trim_log("TRUNCATE")
        self.db.close()
