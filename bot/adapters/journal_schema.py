"""The journal's tables, their bounds, and the form in which the core's state is kept."""

import json
import sqlite3
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from bot.adapters.journal_errors import JournalUnusableError
from bot.core.codec import decode, encode
from bot.core.kernel.codes import FLAT, NO_INTENT
from bot.core.kernel.records import Account, Intent, Position, SymbolState, Trade, World
from bot.core.messages import Role
from bot.core.modes import Cause, Modes
from bot.core.orders import Order
from bot.core.owners import OwnerError, Owners, signed
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
"""rows kept of each table; the oldest go. 200,000 events are some 100 days of one-minute bars.
So many checkpoints are kept of starts, and so many of the days"""

# What of State is not in the world; fill ids are rebuilt from the table of fills.
CORE_FIELDS = {
    field.name: field.type for field in fields(State) if field.name not in ("world", "fill_ids")
}
ARRAYS = {"returns": "d", "samples": "q", "window_times": "q", "window_equity": "d"}
LISTS: Mapping[str, float] = {"wishes": 0.0, "verdicts": 0}
COMPACT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def state_parts(state: State) -> dict[str, bytes]:
    """Return the core's state in parts, each as bytes that are equal when nothing has changed.

    Parameters, tiers, strategies and contracts are not among them: they come from the configuration
    of whoever restores. Positions and intents name their owners.
    """
    world = state.world
    parts = {
        "account": _json(encode(world.account)),
        "symbols": _json(encode(world.symbols)),
        "positions": _json(signed(world, encode(world.positions), world.positions)),
        "intents": _json(signed(world, encode(world.intents), world.intents)),
        "core": _json({name: encode(getattr(state, name)) for name in CORE_FIELDS}),
        "cycle": _json({name: getattr(world, name) for name in LISTS}),
    }
    for name, code in ARRAYS.items():
        parts[name] = array(code, getattr(world, name)).tobytes()
    return parts


def _json(value: object) -> bytes:
    return COMPACT.encode(value).encode()


def restore_state(parts: Mapping[str, bytes], template: State) -> State:
    """Return the stored state over the parameters and contracts of `template`.

    Raises
    ------
    JournalUnusableError : the journal was written for other symbols, or strategies
    InputError, LookupError, TypeError, ValueError : it is damaged
    """
    core = json.loads(parts["core"])
    symbols = tuple(core["symbols"])
    if symbols != template.symbols:
        raise JournalUnusableError(
            f"journal: expected the symbols {', '.join(symbols)} in this order, was "
            f"{', '.join(template.symbols)}; restore the configuration, or use another --state"
        )
    world = template.world
    orders = {name: decode(Order, order) for name, order in core["orders"].items()}
    ended = {name: decode(Order, order) for name, order in core.get("ended", {}).items()}
    account = decode(Account, json.loads(parts["account"]))
    account.tier = min(account.tier, len(world.tiers) - 1)  # the table may have become shorter
    changed: dict[str, Any] = {
        "account": account,
        "symbols": [decode(SymbolState, s) for s in json.loads(parts["symbols"])],
    }
    try:
        changed |= _owned(parts, world, chain(orders.values(), ended.values()))
    except OwnerError as error:
        raise JournalUnusableError(f"journal: {error}") from error
    cycle = json.loads(parts["cycle"])
    size = len(symbols) * len(changed["strategies"])
    for name, nothing in LISTS.items():  # of another list of strategies they mean nothing
        changed[name] = cycle[name] if len(cycle[name]) == size else [nothing] * size
    for name, code in ARRAYS.items():
        values: array[Any] = array(code)
        values.frombytes(parts[name])
        changed[name] = list(values)
    for name in ("symbols", "positions", "intents", *ARRAYS):
        if len(changed[name]) != len(getattr(world, name)):
            raise ValueError(f"expected {len(getattr(world, name))} {name}")
    restored: World = world._replace(**changed)
    return State(
        world=restored,
        symbols=symbols,
        installation=core["installation"],
        modes=_modes(core["modes"]),
        orders=orders,
        guards=[decode(Guard, guard) for guard in core["guards"]],
        ended=ended,
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


def _owned(parts: Mapping[str, bytes], world: World, orders: Iterable[Order]) -> dict[str, Any]:
    """Return positions, intents and the strategies that they point into.

    An entry may trade after its intent has ended.
    """
    owners = Owners(world)
    entering = {order.symbol for order in orders if order.role is Role.ENTRY}
    positions, intents = [], []
    for plain in json.loads(parts["positions"]):
        positions.append(decode(Position, plain))
        owners.find(positions[-1], plain, needed=positions[-1].side != FLAT)
    for k, plain in enumerate(json.loads(parts["intents"])):
        intents.append(decode(Intent, plain))
        wanted = intents[-1].kind != NO_INTENT or k in entering
        owners.find(intents[-1], plain, needed=wanted)
    return {"positions": positions, "intents": intents, "strategies": owners.kinds}


def _modes(data: Mapping[str, Any]) -> Modes:
    """Return the causes; one that this release does not know holds everything until a person has
    looked."""
    causes = {}
    for name, since in data["causes"].items():
        causes[Cause[name] if name in Cause.__members__ else Cause.OPERATOR_HALT] = since
    return Modes(causes)


@dataclass(frozen=True, slots=True)
class Stored:
    """The state of the last commit as it was read; it becomes a State over a template."""

    parts: dict[str, bytes]
    fill_ids: tuple[str, ...]

    @classmethod
    def read(cls, db: sqlite3.Connection) -> "Stored | None":
        """Read it; None when there is none. The caller sees to one transaction."""
        parts = dict(db.execute("SELECT part, body FROM state").fetchall())
        if not parts:
            return None
        # A fill that was told twice has its place from the first time.
        names = db.execute(
            "SELECT fill_id FROM fills GROUP BY fill_id ORDER BY min(n) DESC LIMIT ?",
            (REMEMBERED_FILLS,),
        ).fetchall()
        return cls(parts, tuple(chain.from_iterable(reversed(names))))

    def over(self, template: State) -> State:
        """Return the state, over the parameters and contracts of `template`."""
        state = restore_state(self.parts, template)
        state.fill_ids = dict.fromkeys(self.fill_ids)
        for name in state.puzzles:  # not booked yet
            state.fill_ids.pop(name, None)
        return state


def stored_state(db: sqlite3.Connection, template: State) -> State | None:
    """Return the state of the last commit over the parameters and contracts of `template`; None
    when there is none."""
    stored = Stored.read(db)
    return None if stored is None else stored.over(template)


def stored_trades(db: sqlite3.Connection, last: int) -> list[Trade]:
    """Return the newest finished trades, oldest first."""
    rows = db.execute("SELECT body FROM trades ORDER BY n DESC LIMIT ?", (last,))
    return [decode(Trade, json.loads(body)) for (body,) in reversed(rows.fetchall())]


def check_schema(db: sqlite3.Connection, path: Path) -> int:
    """Return the schema of the file; raise JournalError when it needs a newer release."""
    known = dict(db.execute("SELECT name, value FROM meta").fetchall())
    needed = int(known.get("readable_from", "1"))  # a ValueError: damaged
    if needed > SCHEMA_VERSION:
        raise JournalUnusableError(
            f"{path}: expected schema {SCHEMA_VERSION} or one it can read, was schema "
            f"{known.get('schema')} that needs a release with schema {needed} or newer"
        )
    return int(known.get("schema", "0"))
