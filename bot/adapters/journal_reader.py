"""Reads a journal that somebody else writes, or wrote: for people, the dashboard and replay."""

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.adapters.journal_errors import JournalError, guarded, reading
from bot.adapters.journal_schema import Stored, check_schema, restore_state, stored_trades
from bot.core.codec import decode, decode_member
from bot.core.errors import InputError
from bot.core.kernel.params import Params, Tier
from bot.core.kernel.records import Trade
from bot.core.messages import Effect, Event
from bot.core.state import State

PAGE = 1_000
"""events that are read at once: no read is long, so that the writer's log can be cut"""
RUN = "SELECT run_id, started_ms, identity, clean FROM runs"
type Identity = dict[str, Any]


class JournalReader:
    """Read only: works beside a living writer and after a dead one."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"{path}: expected a journal, was none: has the bot ever run here?")
        self.path = path
        with reading(path):
            self.db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
            try:
                check_schema(self.db, path)
            except BaseException:
                self.db.close()
                raise

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let what is read inside be of one moment. Keep it short (DESIGN section 6)."""
        with reading(self.path):
            self.db.execute("BEGIN")
            try:
                yield
            finally:
                if self.db.in_transaction:
                    self.db.execute("COMMIT")

    @guarded
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the stored state, in configuration order; none without a state."""
        row = self.db.execute("SELECT body FROM state WHERE part = 'core'").fetchone()
        return tuple(json.loads(row[0])["symbols"]) if row else ()

    @guarded
    def identity(self) -> Identity:
        """Return what the newest run was: run_id, started_ms, config_hash and so on."""
        row = self.db.execute(f"{RUN} ORDER BY n DESC LIMIT 1").fetchone()
        return {} if row is None else _identity(row)

    @guarded
    def identities(self) -> dict[str, Identity]:
        """Return what the runs were that have stored states, by run id."""
        runs = f"{RUN} WHERE run_id IN (SELECT run_id FROM checkpoints) ORDER BY n"
        return {row[0]: _identity(row) for row in self.db.execute(runs)}

    @guarded
    def stored(self) -> Stored | None:
        """Return the state of the last commit as it is written; None without one."""
        return Stored.read(self.db)

    @guarded
    def restored(self, stored: Stored, template: State) -> State:
        """Return what `stored` says over the template's contracts."""
        return stored.over(template)

    def load_state(self, template: State) -> State | None:
        """Return the state of the last commit over the template's contracts; None without one."""
        stored = self.stored()
        return None if stored is None else self.restored(stored, template)

    @guarded
    def trades(self, last: int) -> list[Trade]:
        """Return the newest finished trades, oldest first."""
        return stored_trades(self.db, last)

    @guarded
    def incidents(self, last: int) -> list[dict[str, Any]]:
        """Return the newest warnings, alerts and operator commands, oldest first."""
        rows = self.db.execute(
            "SELECT now_ms, level, kind, symbol, text FROM incidents ORDER BY n DESC LIMIT ?",
            (last,),
        ).fetchall()
        names = ("now_ms", "level", "kind", "symbol", "text")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]

    @guarded
    def checkpoints(self) -> list[tuple[int, int, str]]:
        """Return (first event after it, market time, run id) of each stored state, oldest first."""
        return self.db.execute("SELECT n, now_ms, run_id FROM checkpoints ORDER BY n").fetchall()

    @guarded
    def runs(self) -> tuple[int, int]:
        """Return how many runs are known, and how many of them did not end in order (the one that
        is at work now is one of these)."""
        known, clean = self.db.execute(
            "SELECT count(*), coalesce(sum(clean), 0) FROM runs"
        ).fetchone()
        return known, known - clean

    @guarded
    def oldest_event(self) -> int | None:
        """Return the number of the oldest event, None without events."""
        found: int | None = self.db.execute("SELECT min(n) FROM events").fetchone()[0]
        return found

    @guarded
    def count_events(self, first: int, end: int) -> int:
        """Return how many events are there from `first` up to, not including, `end`."""
        count = "SELECT count(*) FROM events WHERE n >= ? AND n < ?"
        found: int = self.db.execute(count, (first, end)).fetchone()[0]
        return found

    @guarded
    def starts(self) -> list[int]:
        """Return the first event of each known run, oldest first."""
        rows = self.db.execute("SELECT first_seq FROM runs ORDER BY n").fetchall()
        return [first for (first,) in rows]

    @guarded
    def last_event(self) -> int | None:
        """Return the number of the newest event, None without events."""
        found: int | None = self.db.execute("SELECT max(n) FROM events").fetchone()[0]
        return found

    @guarded
    def state_at(self, n: int, template: State) -> State:
        """Return the state of checkpoint `n`, under the parameters of that time."""
        row = self.db.execute("SELECT body FROM checkpoints WHERE n = ?", (n,)).fetchone()
        if row is None:
            raise JournalError(f"{self.path}: the bot has dropped its oldest events: try again")
        body = json.loads(row[0])
        fill_ids = json.loads(body.pop("fill_ids"))
        params = decode(Params, json.loads(body.pop("params")))
        tiers = [decode(Tier, tier) for tier in json.loads(body.pop("tiers"))]
        then = replace(template, world=template.world._replace(params=params, tiers=tiers))
        state = restore_state({k: base64.b64decode(v) for k, v in body.items()}, then)
        state.fill_ids = dict.fromkeys(fill_ids)
        return state

    def events(
        self, first: int, end: int | None = None
    ) -> Iterator[tuple[int, Event, list[Effect]]]:
        """Yield (number, event, effects) of the events from `first` up to, not including, `end`."""
        last = end if end is not None else 2**62
        while page := self._page(first, last):
            yield from page
            first = page[-1][0] + 1

    @guarded
    def _page(self, first: int, end: int) -> list[tuple[int, Event, list[Effect]]]:
        rows = self.db.execute(
            "SELECT n, event, effects FROM events WHERE n >= ? AND n < ? ORDER BY n LIMIT ?",
            (first, end, PAGE),
        ).fetchall()
        return [
            (
                n,
                decode_member(Event, json.loads(event)),
                [decode_member(Effect, effect) for effect in json.loads(effects)],
            )
            for n, event, effects in rows
        ]

    def close(self) -> None:
        self.db.close()


def _identity(row: tuple[str, int, str, int]) -> Identity:
    known: Identity = json.loads(row[2])
    return {**known, "run_id": row[0], "started_ms": row[1], "clean": bool(row[3])}
