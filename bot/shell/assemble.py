"""Puts a lasting bot together, in the order in which it must be: locks, latches, journal, exchange,
books, recovery; and takes it apart again. What is said here holds for paper and live; the live
exchange's own part is in bot/shell/live.py.
"""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.journal import Journal
from bot.adapters.latches import Latches
from bot.adapters.locks import BOT, EVERYBODY, InstanceLock, account_lock_path
from bot.adapters.paper_store import PaperStore, check_same
from bot.core.errors import InputError
from bot.core.kernel.codes import FLAT
from bot.core.kernel.records import World
from bot.core.messages import Command, History, Operator
from bot.core.owners import RETIRED, strategy_name
from bot.core.state import State
from bot.shell.build import build_world
from bot.shell.clocks import MarketClock, PacedClock, VirtualClock
from bot.shell.config import Config, trading_hash
from bot.shell.engine import Engine
from bot.shell.offline import run_identity
from bot.shell.paper import INSTALLATION, Source, warmup_rows
from bot.shell.paper_venue import PaperVenue, open_paper_venue
from bot.shell.recovery import MissedMarket, begin_anew, recover, skip_unwritten
from bot.shell.state_folder import ACCOUNT, JOURNAL, LATCHES, LOCK, PAPER, control_socket
from bot.shell.venue import LastingVenue

log = logging.getLogger("radbot")


@dataclass(slots=True)
class Base:
    """What every bot has before it knows its exchange."""

    state_dir: Path
    run_id: str
    locks: list[InstanceLock]
    latches: Latches
    journal: Journal

    def close(self, *, clean: bool) -> None:
        """Write what is left and give the locks back."""
        self.journal.close(clean=clean)
        for lock in self.locks:
            lock.release()


@dataclass(slots=True)
class Bot[V: LastingVenue]:
    """A bot on its exchange, not recovered yet, and what must be closed when it ends."""

    base: Base
    engine: Engine
    venue: V
    clock: MarketClock
    recover: Callable[[Config, int], None]
    """bring the books to the exchange's truth; raises UnreachableError, and may be called again"""
    source: Source
    """what is known about its market, for summaries"""

    @property
    def journal(self) -> Journal:
        return self.base.journal

    @property
    def latches(self) -> Latches:
        return self.base.latches

    @property
    def run_id(self) -> str:
        return self.base.run_id

    def close(self, *, clean: bool) -> None:
        """End in order; the locks are given back last."""
        try:
            self.venue.close()
        finally:
            self.base.close(clean=clean)


def open_base(state_dir: Path, account: str, *, durable: bool) -> Base:
    """Take the locks of a state directory and of the account on it, and open what is in it.

    Raises
    ------
    InputError : the directory cannot be used
    LockedError : another bot is at work on it, or on its account
    JournalError : the journal cannot be written
    """
    make_folder(state_dir)
    run_id = f"{int(time.time() * 1000):x}-{secrets.token_hex(3)}"
    locks = take_locks(state_dir, account, run_id)
    try:
        latches = Latches(state_dir / LATCHES)
        try:
            latches.prepare()
        except OSError as error:  # the bot may still protect and flatten
            log.error("latches: no reserve could be made: %s", error)
        journal = Journal.open(state_dir / JOURNAL, durable=durable)
    except BaseException:
        for lock in locks:
            lock.release()
        raise
    return Base(state_dir, run_id, locks, latches, journal)


def make_folder(state_dir: Path) -> None:
    """Make the state directory if it is not there; raise InputError when that cannot be."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise InputError(f"{state_dir}: expected a folder for the state, was: {error}") from error


def check_kind(state_dir: Path, *, live: bool) -> None:
    """Raise InputError where a bot of the other kind lives: its journal is not ours to go on with,
    and `radbot kill` must find one account there."""
    kind, name = ("paper", PAPER) if live else ("live", ACCOUNT)
    if (state_dir / name).exists():
        raise InputError(
            f"{state_dir}: expected no {kind} bot, was one ({name}): use another --state"
        )


def open_paper_bot(
    config: Config, source: Source, state_dir: Path, *, durable: bool, speed: float | None = None
) -> Bot[PaperVenue]:
    """Open the paper bot of a state directory, or found it; what is missing is made.

    Parameters
    ----------
    speed : market seconds per second; None is virtual time

    Raises
    ------
    InputError : the directory cannot be used, or belongs to another market
    LockedError, JournalError : as `open_base`
    """
    make_folder(state_dir)
    check_kind(state_dir, live=False)
    # A simulated account is its database, wherever a link makes it appear.
    account = str((state_dir / PAPER).resolve())
    base = open_base(state_dir, account, durable=durable)
    with ExitStack() as failed:
        failed.callback(base.close, clean=True)
        world: World = build_world(config, source.specs, source.start_ms)
        store = PaperStore(state_dir / PAPER, durable=durable)
        failed.callback(store.close)
        venue, traded = open_paper_venue(
            store,
            world.params,
            world.specs,
            world.account.deposits,
            source.identity,
            source.stream,
        )
        stored = base.journal.load_state(State(world, source.symbols, INSTALLATION))
        check_same(store.path, account=traded, journal=stored is not None)
        failed.pop_all()
    state = stored if stored is not None else State(world, source.symbols, INSTALLATION)
    if stored is None and traded:
        begin_anew(state, venue.told_ms())
    engine = Engine(state, venue)
    if stored is None:
        for row in source.history:
            engine.feed(History(row.open_ms + world.params.timeframe_ms, row.bars))
    clock = paper_clock(venue, state, config, speed)

    def recovered(config: Config, now: int) -> None:
        venue.catch_up(now, state.decided_ms)
        recover_books(bot, config, now, venue)

    bot = Bot(base, engine, venue, clock, recovered, source)
    return bot


def paper_clock(
    venue: PaperVenue, state: State, config: Config, speed: float | None
) -> MarketClock:
    """Return the clock of a simulated market: it goes on from where the market stood, and the
    market has gone on meanwhile."""
    start_ms = max(state.now_ms, venue.market.ended_ms(), 0)
    if venue.market.progress.open_ms < 0:  # nothing was played yet
        start_ms = (venue.next_ms() or 0) - config.timeframe_ms
    if speed is None:
        return VirtualClock(venue.next_ms, start_ms)
    stood_ms, start_ms = start_ms, max(start_ms, venue.now_ms(speed))
    missed = (start_ms - stood_ms) // config.timeframe_ms
    if missed > 0:
        log.warning("the market went on without the bot for %d bars", missed)
    return PacedClock(start_ms, speed)


def take_locks(state_dir: Path, account: str, run_id: str) -> list[InstanceLock]:
    """Take the lock of the state directory and that of its account.

    Raises LockedError, and InputError when this user may not take them.
    """
    note: dict[str, object] = {"state": str(state_dir), "run_id": run_id, "program": BOT}
    note["socket"] = str(control_socket(state_dir).absolute())
    own = InstanceLock.acquire(state_dir / LOCK, note)
    try:
        return [own, InstanceLock.acquire(account_lock_path(account), note, EVERYBODY)]
    except BaseException:
        own.release()
        raise


def begin_run[V: LastingVenue](bot: Bot[V], config: Config, identity: dict[str, str]) -> None:
    """Write that a run begins, and the state it begins with."""
    state = bot.engine.state
    if not bot.journal.was_clean:
        skip_unwritten(state)
    known = {**identity, **run_identity(state.world), "installation": state.installation}
    known["config_hash"] = trading_hash(config)
    for name, pos in zip(state.symbols, state.world.positions, strict=True):
        kind = state.world.strategies[pos.strategy]
        if pos.side != FLAT and kind >= RETIRED:
            text = "%s: its strategy %s is not configured any more: only its stop, its target, "
            log.warning(f"{text}risk or a person close it", name, strategy_name(kind))
    bot.journal.begin_run(bot.run_id, int(time.time() * 1000), known, state)


def recover_books[V: LastingVenue](
    bot: Bot[V], config: Config, now: int, missed: MissedMarket | None
) -> None:
    """Take in what people decided while the bot was down, and what the exchange says.

    `missed` knows the bars the bot has missed; None where the venue tells them itself. Raises
    UnreachableError; then it is begun again.
    """
    state = bot.engine.state
    note = bot.latches.take_resume()
    if note is not None:
        try:  # first: a note that stays would resume at every start
            bot.latches.forget_resume()
        except OSError as error:
            log.error("latches: the resume of %s is not obeyed: %s", note.by, error)
        else:
            said = f"{note.reason} (by {note.by}, while the bot was down)"
            bot.engine.feed(Operator(max(now, state.now_ms), Command.RESUME, said))
    latch = bot.latches.read()
    recover(
        bot.engine,
        missed,
        now,
        latched=None if latch is None else f"{latch.reason} (latched by {latch.by})",
        warmup_rows=warmup_rows(config),
    )
