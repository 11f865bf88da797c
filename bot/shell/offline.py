"""What can be said and done while no bot runs: answers from its journal, a resume for its next
start."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot.adapters.journal_errors import JournalError
from bot.adapters.journal_reader import JournalReader
from bot.adapters.latches import Latches
from bot.adapters.locks import InstanceLock
from bot.core.codec import decode, encode
from bot.core.errors import InputError
from bot.core.kernel.params import Params, Spec
from bot.core.kernel.records import World, new_world
from bot.core.owners import read_kinds, written
from bot.core.specs import BUILTIN
from bot.core.state import State
from bot.core.summary import trade_row
from bot.shell.state_folder import JOURNAL, LATCHES, LOCK
from bot.shell.status import describe, select

type Plain = dict[str, Any]


def run_identity(world: World) -> dict[str, str]:
    """Return what must be written with a run so that its state can be read without the
    configuration: contracts and strategies, in configuration order."""
    return {
        "specs": json.dumps(encode(world.specs)),
        "strategies": written(world.strategies),
    }


def from_journal(state_dir: Path, command: str, last: int, note: str) -> Plain:
    """Return what the journal says, in the form of the running bot's answer.

    Parameters
    ----------
    command : status, positions, balance or trades
    last : at most so many trades
    note : why the bot does not answer itself

    Raises
    ------
    JournalError : there is no journal, it cannot be read, or is damaged
    """
    path = state_dir / JOURNAL
    if not path.is_file():
        raise JournalError(f"{note}, and {state_dir} has no journal: no bot has run there")
    with closing(JournalReader(path)) as reader, reader.at_once():
        symbols, identity = list(reader.symbols()), reader.identity()
        state = reader.load_state(template(symbols, identity))
    if state is None:
        raise JournalError(f"{note}, and {path} is empty: no bot has run there")
    head = {
        "source": "journal",
        "note": note,
        "as_of_ms": state.now_ms,
        "run_id": identity.get("run_id", ""),
    }
    if command == "trades":
        return {**head, "trades": finished_trades(path, last)}
    return {**head, **select(command, latched(describe(state), state_dir))}


def finished_trades(path: Path, last: int) -> list[Plain]:
    """Return the newest finished trades of a journal, oldest first.

    Raises
    ------
    InputError : there is no journal
    JournalError : it cannot be read
    """
    with closing(JournalReader(path)) as reader, reader.at_once():
        symbols = list(reader.symbols())
        return [trade_row(trade, symbols) for trade in reader.trades(last)]


def template(symbols: list[str], identity: Mapping[str, Any]) -> State:
    """Return a State that the stored one can be read over, as far as the journal says.

    A contract that nothing is known of has multiplier 0, a strategy without a name is left out.
    """
    if "specs" in identity:
        specs = [decode(Spec, spec) for spec in json.loads(identity["specs"])]
    else:
        known = [BUILTIN.get(name) for name in symbols]
        specs = [Spec(multiplier=spec.multiplier if spec else 0.0) for spec in known]
    kinds = read_kinds(identity.get("strategies", ""))
    return State(new_world(Params(), [], kinds, specs, 0.0), tuple(symbols), "")


def latched(described: Plain, state_dir: Path) -> Plain:
    """Return a description with what the latch adds: the next start will obey it."""
    latch = Latches(state_dir / LATCHES).read()
    causes = described["causes"]
    if latch is None or any(cause["mode"] == "FLATTEN" for cause in causes):
        return described
    cause = {
        "cause": latch.cause,
        "since_ms": latch.at_ms,
        "mode": "FLATTEN",
        "cleared_by": "radbot resume --reason",
    }
    return {**described, "mode": "FLATTEN", "causes": [*causes, cause]}


def latch_of(state_dir: Path) -> Plain:
    """Return the latch and the resume that waits for the next start, None where there is none."""
    latches = Latches(state_dir / LATCHES)
    latch, left = latches.read(), latches.take_resume()
    return {
        "latch": None if latch is None else asdict(latch),
        "resume": None if left is None else asdict(left),
    }


def resume(state_dir: Path, reason: str, by: str, at_ms: int) -> None:
    """Release the latch of a bot that does not run; its next start journals and obeys the rest.

    Raises
    ------
    LockedError : a bot is at work there after all
    InputError : it cannot be written
    """
    lock = InstanceLock.acquire(state_dir / LOCK, {"program": "resume"})
    try:
        latches = Latches(state_dir / LATCHES)
        try:
            latches.prepare()
            # In this order: a crash in between leaves the latch, which is the safe side.
            latches.leave_resume(reason, by, at_ms)
            latches.release()
        except OSError as error:
            raise InputError(f"{latches.folder}: cannot be written: {error}") from error
    finally:
        lock.release()
