"""The journal's tables, their bounds, and the form in which the core's state is kept."""

import json
import sqlite3
from array import array
from collections.abc import Mapping
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

from bot.core.codec import decode, encode
from bot.core.errors import BotError
from bot.core.kernel.records import Account, Intent, Position, SymbolState, Trade, World
from bot.core.modes import Cause, Modes
from bot.core.orders import Order
from bot.core.state import REMEMBERED_FILLS, Guard, State, Watch

SCHEMA_VERSION = 1
READABLE_FROM = 1
"""oldest release schema that can read what this one writes; raise it only with a migration"""

TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    n INTEGER PRIMARY KEY, run_id TEXT NOT NULL, started_ms INTEGER NOT NULL,
    identity TEXT NOT NULL, first_seq INTEGER NOT NULL, clean INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS events (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, event TEXT NOT NULL, effects TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS intents (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, client_id TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fills (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, fill_id TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trades (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS equity (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, equity REAL NOT NULL);
CREATE TABLE IF NOT EXISTS daily (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, equity REAL NOT NULL);
CREATE TABLE IF NOT EXISTS incidents (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, level TEXT NOT NULL, kind TEXT NOT NULL,
    symbol INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (part TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (
    n INTEGER PRIMARY KEY, now_ms INTEGER NOT NULL, run_id TEXT NOT NULL, body TEXT NOT NULL);
"""

BOUNDS: Mapping[str, int] = {
    "runs": 1_000,
    "events": 200_000,
    "intents": 100_000,
    "fills": 100_000,
    "trades": 100_000,
    "equity": 100_000,
    "daily": 10_000,
    "incidents": 100_000,
    "checkpoints": 40,
}
"""rows kept of each table; the oldest go. 200,000 events are some 100 days of one-minute bars"""

# What of State is not in the world; fill ids are rebuilt from the table of fills.
CORE_FIELDS = {
    field.name: field.type for field in fields(State) if field.name not in ("world", "fill_ids")
}
ARRAYS = {"returns": "d", "samples": "q", "window_times": "q", "window_equity": "d"}
LISTS = ("wishes", "verdicts")


class JournalError(BotError):
    """The journal cannot be used. Exit code 75: somebody must make room, then it works again."""

    exit_code = 75


def state_parts(state: State) -> dict[str, bytes]:
    """Return the core's state in parts, each as bytes that are equal when nothing has changed.

    Parameters, tiers, strategies and contracts are not among them: they come from the configuration
    of whoever restores.
    """
    world = state.world
    parts = {
        "account": _json(encode(world.account)),
        "symbols": _json(encode(world.symbols)),
        "positions": _json(encode(world.positions)),
        "intents": _json(encode(world.intents)),
        "core": _json({name: encode(getattr(state, name)) for name in CORE_FIELDS}),
        "cycle": _json({name: getattr(world, name) for name in LISTS}),
    }
    for name, code in ARRAYS.items():
        parts[name] = array(code, getattr(world, name)).tobytes()
    return parts


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def restore_state(parts: Mapping[str, bytes], template: State) -> State:
    """Return the stored state over the parameters and contracts of `template`.

    Raises
    ------
    JournalError : the journal was written for other symbols
    """
    core = json.loads(parts["core"])
    symbols = tuple(core["symbols"])
    if symbols != template.symbols:
        raise JournalError(
            f"journal: expected the symbols {', '.join(symbols)} in this order, was "
            f"{', '.join(template.symbols)}; restore the configuration, or use another --state"
        )
    world = template.world
    account = decode(Account, json.loads(parts["account"]))
    account.tier = min(account.tier, len(world.tiers) - 1)  # the table may have become shorter
    changed: dict[str, Any] = {
        "account": account,
        "symbols": [decode(SymbolState, s) for s in json.loads(parts["symbols"])],
        "positions": [decode(Position, p) for p in json.loads(parts["positions"])],
        "intents": [decode(Intent, i) for i in json.loads(parts["intents"])],
    }
    cycle = json.loads(parts["cycle"])
    for name in LISTS:  # another list of strategies: the wishes of the last cycle mean nothing
        same = len(cycle[name]) == len(getattr(world, name))
        changed[name] = cycle[name] if same else getattr(world, name)
    for name, code in ARRAYS.items():
        values: array[Any] = array(code)
        values.frombytes(parts[name])
        changed[name] = list(values)
    restored: World = world._replace(**changed)
    return State(
        world=restored,
        symbols=symbols,
        installation=core["installation"],
        modes=_modes(core["modes"]),
        orders={name: decode(Order, order) for name, order in core["orders"].items()},
        guards=[decode(Guard, guard) for guard in core["guards"]],
        ended={name: decode(Order, order) for name, order in core.get("ended", {}).items()},
        puzzles=core.get("puzzles", {}),
        sequence=core["sequence"],
        now_ms=core["now_ms"],
        decided_ms=core.get("decided_ms", 0),
        error_times=core["error_times"],
        last_error_ms=core["last_error_ms"],
        read_ms=core.get("read_ms", 0),
        wallet_doubts=core.get("wallet_doubts", 0),
        watch=decode(Watch, core.get("watch", {})),
    )


def _modes(data: Mapping[str, Any]) -> Modes:
    """Return the causes; one that this release does not know holds everything until a person has
    looked."""
    causes = {}
    for name, since in data["causes"].items():
        causes[Cause[name] if name in Cause.__members__ else Cause.OPERATOR_HALT] = since
    return Modes(causes)


def stored_state(db: sqlite3.Connection, template: State) -> State | None:
    """Return the state of the last commit over the parameters and contracts of `template`; None
    when there is none."""
    parts = dict(db.execute("SELECT part, body FROM state").fetchall())
    if not parts:
        return None
    state = restore_state(parts, template)
    # A fill that was told twice has its place from the first time.
    names = db.execute(
        "SELECT fill_id FROM fills GROUP BY fill_id ORDER BY min(n) DESC LIMIT ?",
        (REMEMBERED_FILLS,),
    ).fetchall()
    state.fill_ids = dict.fromkeys(chain.from_iterable(reversed(names)))
    for name in state.puzzles:  # not booked yet
        state.fill_ids.pop(name, None)
    return state


def stored_trades(db: sqlite3.Connection, last: int) -> list[Trade]:
    """Return the newest finished trades, oldest first."""
    rows = db.execute("SELECT body FROM trades ORDER BY n DESC LIMIT ?", (last,))
    return [decode(Trade, json.loads(body)) for (body,) in reversed(rows.fetchall())]


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Raise JournalError when the file needs a newer release to be read."""
    known = dict(db.execute("SELECT name, value FROM meta").fetchall())
    needed = int(known.get("readable_from", "1"))
    if needed > SCHEMA_VERSION:
        raise JournalError(
            f"{path}: expected schema {SCHEMA_VERSION} or one it can read, was schema "
            f"{known.get('schema')} that needs a release with schema {needed} or newer"
        )
