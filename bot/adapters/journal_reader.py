"""Reads a journal that somebody else writes, or wrote: for people, the dashboard and replay."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from bot.adapters.journal import check_schema
from bot.adapters.journal_schema import JournalError, restore_state
from bot.core.codec import decode, decode_member
from bot.core.errors import InputError
from bot.core.kernel.records import Trade
from bot.core.messages import Effect, Event
from bot.core.state import REMEMBERED_FILLS, State


class JournalReader:
    """Read only: works beside a living writer and after a dead one."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{path}: expected a journal, was none: has the bot ever run here?")
        try:
            self.db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
            check_schema(self.db, path)
        except sqlite3.Error as error:
            raise JournalError(f"{path}: expected a readable journal, was: {error}") from error

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the stored state, in configuration order; none without a state."""
        row = self.db.execute("SELECT body FROM state WHERE part = 'core'").fetchone()
        return tuple(json.loads(row[0])["symbols"]) if row else ()

    def identity(self) -> dict[str, Any]:
        """Return what the newest run was: run_id, started_ms, config_hash and so on."""
        row = self.db.execute(
            "SELECT run_id, started_ms, identity, clean FROM runs ORDER BY n DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return {}
        known: dict[str, Any] = json.loads(row[2])
        return {**known, "run_id": row[0], "started_ms": row[1], "clean": bool(row[3])}

    def load_state(self, template: State) -> State | None:
        """Return the state of the last commit over the template's contracts; None without one."""
        parts = dict(self.db.execute("SELECT part, body FROM state").fetchall())
        if not parts:
            return None
        state = restore_state(parts, template)
        names = self.db.execute(
            "SELECT fill_id FROM fills ORDER BY n DESC LIMIT ?", (REMEMBERED_FILLS,)
        ).fetchall()
        state.fill_ids = dict.fromkeys(chain.from_iterable(reversed(names)))
        return state

    def trades(self, last: int) -> list[Trade]:
        """Return the newest finished trades, oldest first."""
        rows = self.db.execute("SELECT body FROM trades ORDER BY n DESC LIMIT ?", (last,))
        return [decode(Trade, json.loads(body)) for (body,) in reversed(rows.fetchall())]

    def incidents(self, last: int) -> list[dict[str, Any]]:
        """Return the newest warnings, alerts and operator commands, oldest first."""
        rows = self.db.execute(
            "SELECT now_ms, level, kind, symbol, text FROM incidents ORDER BY n DESC LIMIT ?",
            (last,),
        ).fetchall()
        names = ("now_ms", "level", "kind", "symbol", "text")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]

    def checkpoints(self) -> list[tuple[int, int, str]]:
        """Return (first event after it, market time, run id) of each stored state, oldest first."""
        return self.db.execute("SELECT n, now_ms, run_id FROM checkpoints ORDER BY n").fetchall()

    def state_at(self, n: int, template: State) -> State:
        """Return the state of checkpoint `n`."""
        row = self.db.execute("SELECT body FROM checkpoints WHERE n = ?", (n,)).fetchone()
        body = json.loads(row[0])
        fill_ids = json.loads(body.pop("fill_ids"))
        state = restore_state({k: base64.b64decode(v) for k, v in body.items()}, template)
        state.fill_ids = dict.fromkeys(fill_ids)
        return state

    def events(
        self, first: int, end: int | None = None
    ) -> Iterator[tuple[int, Event, list[Effect]]]:
        """Yield (number, event, effects) of the events from `first` up to, not including, `end`."""
        rows = self.db.execute(
            "SELECT n, event, effects FROM events WHERE n >= ? AND n < ? ORDER BY n",
            (first, end if end is not None else 2**62),
        )
        for n, event, effects in rows:
            told = [decode_member(Effect, effect) for effect in json.loads(effects)]
            yield n, decode_member(Event, json.loads(event)), told

    def close(self) -> None:
        self.db.close()
