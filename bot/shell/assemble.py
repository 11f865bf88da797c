"""Puts the lasting paper bot together, in the order in which it must be: locks, latches, journal,
exchange, books, recovery; and takes it apart again."""

import logging
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.journal import Journal
from bot.adapters.latches import Latches
from bot.adapters.locks import InstanceLock, account_lock_path
from bot.core.errors import InputError
from bot.core.kernel.records import World
from bot.core.messages import Command, History, Operator
from bot.core.state import State
from bot.shell.build import build_world
from bot.shell.config import Config, trading_hash
from bot.shell.engine import Engine
from bot.shell.offline import run_identity
from bot.shell.paper import INSTALLATION, Source, warmup_rows
from bot.shell.paper_venue import PaperVenue, open_paper_venue
from bot.shell.recovery import recover, skip_unwritten

log = logging.getLogger("radbot")


@dataclass(slots=True)
class Bot:
    """A bot whose books agree with its exchange, and what must be closed when it ends."""

    engine: Engine
    venue: PaperVenue
    journal: Journal
    latches: Latches
    locks: list[InstanceLock]
    run_id: str
    resumed: bool
    """there was something to recover"""

    def close(self, *, clean: bool) -> None:
        """Write what is left and give the locks back."""
        self.journal.close(clean=clean)
        self.venue.store.close()
        for lock in self.locks:
            lock.release()


def open_paper_bot(config: Config, source: Source, state_dir: Path, *, durable: bool) -> Bot:
    """Open the bot of a state directory, or found it; what is missing is made.

    Not recovered yet: call `recover_bot`.

    Raises
    ------
    InputError : the directory cannot be used, or belongs to another market
    LockedError : another bot is at work on it, or on its account
    JournalError : the journal cannot be written
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise InputError(f"{state_dir}: expected a folder for the state, was: {error}") from error
    run_id = f"{int(time.time() * 1000):x}-{secrets.token_hex(3)}"
    locks = take_locks(state_dir, run_id)
    latches = Latches(state_dir / "latches")
    try:
        latches.prepare()
    except OSError as error:  # the bot may still protect and flatten
        log.error("latches: no reserve could be made: %s", error)
    world: World = build_world(config, source.specs, source.start_ms)
    journal = Journal.open(state_dir / "journal.sqlite3", durable=durable)
    venue, _ = open_paper_venue(
        state_dir / "paper.sqlite3",
        world.params,
        world.specs,
        world.account.deposits,
        source.identity,
        source.stream,
        durable=durable,
    )
    stored = journal.load_state(State(world, source.symbols, INSTALLATION))
    state = stored if stored is not None else State(world, source.symbols, INSTALLATION)
    engine = Engine(state, venue)
    if stored is None:
        for row in source.history:
            engine.feed(History(row.open_ms + world.params.timeframe_ms, row.bars))
    return Bot(engine, venue, journal, latches, locks, run_id, stored is not None)


def socket_path(state_dir: Path) -> Path:
    """Return where the control socket is: in the service's runtime directory, if it has one."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return (Path(runtime) if runtime else state_dir) / "control.sock"


def take_locks(state_dir: Path, run_id: str) -> list[InstanceLock]:
    """Take the lock of the state directory and that of its account; raise LockedError."""
    note: dict[str, object] = {"state": str(state_dir), "run_id": run_id, "program": "radbot"}
    note["socket"] = str(socket_path(state_dir).absolute())
    own = InstanceLock.acquire(state_dir / "lock", note)
    try:
        # A simulated account is its database, wherever a link makes it appear.
        account = str((state_dir / "paper.sqlite3").resolve())
        return [own, InstanceLock.acquire(account_lock_path(account), note)]
    except BaseException:
        own.release()
        raise


def begin_run(bot: Bot, config: Config, identity: dict[str, str]) -> None:
    """Write that a run begins, and the state it begins with."""
    if not bot.journal.was_clean:
        skip_unwritten(bot.engine.state)
    known = {**identity, **run_identity(bot.engine.state.world), "installation": INSTALLATION}
    known["config_hash"] = trading_hash(config)
    bot.journal.begin_run(bot.run_id, int(time.time() * 1000), known, bot.engine.state)


def recover_bot(bot: Bot, config: Config, now: int) -> None:
    """Play the market that was missed, and bring the books to the exchange's truth."""
    state = bot.engine.state
    bot.venue.catch_up(now, state.decided_ms)
    note = bot.latches.take_resume()
    if note is not None:
        said = f"{note.reason} (by {note.by}, while the bot was down)"
        bot.engine.feed(Operator(max(now, state.now_ms), Command.RESUME, said))
        bot.latches.forget_resume()
    latch = bot.latches.read()
    recover(
        bot.engine,
        bot.venue,
        now,
        latched=None if latch is None else f"{latch.reason} (latched by {latch.by})",
        warmup_rows=warmup_rows(config),
    )
