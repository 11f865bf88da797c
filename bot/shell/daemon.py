"""The bot as a process that lasts: one loop that trades, obeys, checks itself and says so.

Every turn: take what the venue has, obey people, look at deadlines, publish, and ping the watchdog
if, and only if, there was progress. Threads beside the loop (metrics, control socket) read what was
published and never touch the state.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.adapters.journal import Journal
from bot.adapters.journal_errors import JournalError
from bot.adapters.latches import Latches
from bot.adapters.line_state import LineState
from bot.adapters.outbox import Outbox
from bot.adapters.systemd import Notifier
from bot.core.errors import UnreachableError
from bot.core.kernel.codes import FLATTEN
from bot.core.messages import (
    Command,
    Condition,
    Cycle,
    Effect,
    Event,
    History,
    Level,
    Notice,
    Operator,
    Tick,
)
from bot.core.modes import Cause
from bot.core.orders import Status
from bot.core.protect import has_stop
from bot.core.state import State
from bot.core.text import clean
from bot.shell.clocks import MarketClock
from bot.shell.engine import Engine, Outcome
from bot.shell.obedience import Obedience
from bot.shell.progress import Progress
from bot.shell.stop import Stop
from bot.shell.telemetry import Telemetry

type Listener = Callable[[Event, list[Effect]], None]
log = logging.getLogger("radbot")
TURN_S = 0.25
"""longest sleep of the loop; what people ask for wakes it at once"""
HOUSEKEEPING_S = 1.0
PRUNE_S = 3600.0
READY_S = 20.0
"""a start that waits this long for the exchange is up, and halted (DESIGN section 6)"""
EXTEND_S = 60.0
"""asked for at each step of a start; no step waits longer for the exchange"""
ALIVE_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


@dataclass(slots=True)
class Parts:
    """What a daemon is made of, besides the engine."""

    journal: Journal
    latches: Latches
    outbox: Outbox
    notifier: Notifier
    progress: Progress
    telemetry: Telemetry
    obedience: Obedience
    stop: Stop
    clock: MarketClock
    next_ms: Callable[[], int | None]
    """when the market goes on; None when it is over"""
    listeners: list[Listener] = field(default_factory=list)
    snapshot_s: float = 10.0
    take_errors: Callable[[], list[str]] = lambda: []
    """kinds of errors on the line since the last call"""
    prompted: Callable[[], bool] = lambda: False
    """whether the venue has a reason to be read now: something was heard or is awaited"""
    line: Callable[[], LineState | None] = lambda: None
    """how the line to the exchange is; None where there is none"""
    memory_limit: int = 0
    """bytes; 0 is none"""
    resident: Callable[[], int] = lambda: 0
    publish: Callable[[State], None] = lambda state: None
    reload: Callable[[], None] = lambda: None
    monotonic: Callable[[], float] = time.monotonic


class Daemon:
    """Runs an engine until somebody stops it or the market ends."""

    def __init__(self, engine: Engine, parts: Parts) -> None:
        self.engine = engine
        self.parts = parts
        self.audited = self.kept_house = parts.monotonic()
        self.pruned = self.kept_house - PRUNE_S
        self.reads = engine.reads
        self.answers = 0
        """answers about the market that are known"""
        self.written = engine.record.events
        """events that were offered to the journal"""
        self.journal_works = True
        self.recovering = self.said_ready = False
        self.said_alive = -ALIVE_S
        self.code = 0
        self.refused = False
        """people were told that the exchange does not accept the key any more"""
        self.broken: set[Listener] = set()
        """listeners that have failed; that is said once"""
        engine.ending = self.ends
        engine.commit = self.commit
        engine.listener = self.heard
        engine.before_acting = self.latch

    # What the engine calls.

    def commit(self, outcomes: Sequence[Outcome], state: State) -> bool:
        """Make outcomes durable; a journal that fails is reported once and tried again."""
        parts = self.parts
        began = parts.monotonic()
        try:
            parts.journal.commit(outcomes, state)
        except JournalError as error:
            parts.telemetry.error("journal")
            if self.journal_works:
                log.error("journal: %s", error)
                self.tell(Level.CRITICAL, "journal_failed", str(error), state.now_ms)
            self.journal_works = False
        else:
            if not self.journal_works:
                log.warning("journal: writable again")
            self.journal_works = True
        self.written = self.engine.record.events
        finished = parts.monotonic()
        parts.telemetry.commit(finished - began, self.journal_works, len(parts.journal.pending))
        return self.journal_works

    def latch(self) -> None:
        """FLATTEN outlives the process: its latch is pulled before the first exit goes out."""
        causes = self.engine.state.modes.causes
        cause = Cause.DRAWDOWN if Cause.DRAWDOWN in causes else Cause.KILL_SWITCH
        if self.parts.latches.read() is None:
            try:
                self.parts.latches.pull(
                    cause.label, cause.label, "radbot", self.engine.state.now_ms
                )
            except OSError as error:  # flattening never waits for a disk
                log.error("latch: %s", error)

    def ends(self) -> bool:
        """Return whether the run is to end: nothing more is taken from the market."""
        return self.parts.stop.asked

    def heard(self, event: Event, effects: list[Effect]) -> None:
        """Tell everybody who listens; whatever goes wrong there, the bot trades on."""
        if isinstance(event, Cycle):
            self.parts.progress.met("cycle", self.parts.monotonic())
        if isinstance(event, Cycle | History) and any(event.bars):
            self.parts.progress.met("data", self.parts.monotonic())
        for listener in (self.count, self.tell_all, *self.parts.listeners):
            try:
                listener(event, effects)
            except Exception:
                if listener not in self.broken:
                    log.exception("a listener has failed; that it does is not said again")
                self.broken.add(listener)
                self.parts.telemetry.error("other")
        self.alive()

    def count(self, event: Event, effects: list[Effect]) -> None:
        self.parts.telemetry.saw(event, effects, self.engine.state)

    def tell_all(self, _event: Event, effects: list[Effect]) -> None:
        """Leave what a person must know in the outbox."""
        for effect in effects:
            if isinstance(effect, Notice) and effect.level is not Level.INFO:
                text = clean(effect.text)  # as the journal has it
                self.tell(effect.level, effect.kind, text, effect.now_ms, effect.symbol)

    def tell(self, level: Level, kind: str, text: str, now_ms: int, symbol: int = -1) -> None:
        """Have a message for the notifier, to be left for it at the end of the turn: it must hold
        up no order."""
        body = self.body(text, symbol)
        self.parts.outbox.put(level.value, kind, f"radbot: {kind}", body, now_ms)

    def body(self, text: str, symbol: int) -> str:
        """Return what is said of a symbol, or of the whole bot (-1)."""
        return f"{self.engine.state.symbols[symbol]}: {text}" if symbol >= 0 else text

    def post(self) -> None:
        """Leave the messages that wait; the journal keeps in mind what has been told."""
        self.parts.outbox.flush()
        if not self.parts.outbox.waiting:
            self.parts.journal.note_told()

    # The loop.

    def run(self, end_ms: int | None = None) -> int:
        """Trade until asked to stop, or until market time `end_ms`; return the exit code."""
        parts = self.parts
        parts.progress.restart(parts.monotonic())
        parts.notifier.ready()
        try:
            while not parts.stop.asked:
                if end_ms is not None and parts.clock.now() > end_ms:
                    break
                self.turn()
                due = parts.next_ms()
                if due is None or self.too_large():
                    break
                parts.stop.wait(min(TURN_S, parts.clock.seconds_until(due)))
        finally:
            self.post()
        return self.code

    def recover(self, work: Callable[[int], None]) -> bool:
        """Do the work of recovery until it is done; return False when it came to an end before.

        An exchange that cannot be reached is waited for, in HALT; after `READY_S` the service
        manager is told that the bot is up, because it is (DESIGN section 6).
        """
        parts = self.parts
        began, pause_s = parts.monotonic(), FIRST_PAUSE_S
        self.recovering = True
        while not parts.stop.asked and not self.too_large():
            self.alive()
            if self.tried(work):
                self.declare_outage(parts.clock.now(), active=False)
                self.recovering = False
                return True
            if not self.said_ready and parts.monotonic() - began >= READY_S:
                parts.notifier.ready()
                self.said_ready = True
            self.tried(self.engine.pump)
            self.finish_turn(parts.clock.now())
            parts.stop.wait(pause_s)
            pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)
        return False

    def tried(self, work: Callable[[int], None]) -> bool:
        """Do a part of recovery; return False, in an outage, when the exchange was not there."""
        parts = self.parts
        try:
            work(parts.clock.now())
        except UnreachableError as error:
            if error.exit_code != UnreachableError.exit_code:
                raise  # a key that is not accepted: waiting changes nothing
            parts.telemetry.error("unreachable")
            self.declare_outage(parts.clock.now(), active=True, why=str(error))
            return False
        return True

    def alive(self) -> None:
        """Tell the service manager that a start goes on; called at every step of it, and while it
        waits for the exchange, which always has an end."""
        moment = self.parts.monotonic()
        if not self.recovering or moment - self.said_alive < ALIVE_S:
            return
        self.said_alive = moment
        if self.said_ready:
            self.ping()
        else:
            self.parts.notifier.extend(EXTEND_S)

    def moment(self) -> int:
        """Return market time, not before the newest event."""
        return max(self.parts.clock.now(), self.engine.state.now_ms)

    def turn(self) -> None:
        """Do everything that is due now."""
        parts, now = self.parts, self.parts.clock.now()
        try:
            self.engine.pump(now)
            self.audit_if_due(now)
        except UnreachableError as error:
            parts.telemetry.error("unreachable")
            self.declare_outage(now, active=True, why=str(error))
            self.tell_refused(error, now)
        self.finish_turn(now)

    def finish_turn(self, now: int) -> None:
        """Do what does not need the exchange: count, obey, look at deadlines, publish, ping."""
        parts, engine = self.parts, self.engine
        for kind in (*engine.errors, *parts.take_errors()):
            parts.telemetry.error(kind)
        engine.errors.clear()
        parts.obedience.obey(max(now, engine.state.now_ms))
        self.obey_latch()
        if self.waits() or not self.journal_works:
            engine.feed(Tick(max(now, engine.state.now_ms)))
        self.keep_house()
        parts.publish(engine.state)
        self.ping()

    def obey_latch(self) -> None:
        """Flatten when the latch is there: whoever pulled it may not have come to tell us."""
        latches, state = self.parts.latches, self.engine.state
        if state.modes.mode == FLATTEN or not latches.pulled:
            return
        if (latch := latches.read()) is not None:
            why = f"latched: {latch.reason} (by {latch.by})"
            self.engine.feed(Operator(self.moment(), Command.KILL, why))

    def declare_outage(self, now: int, *, active: bool, why: str = "") -> None:
        """An exchange that cannot be reached is a state of the bot, and no hang."""
        state = self.engine.state
        if active != (Cause.EXCHANGE_UNREACHABLE in state.modes.causes):
            log.warning("exchange: %s", why if active else "reached again")
            moment = max(now, state.now_ms)
            self.engine.feed(Condition(moment, Cause.EXCHANGE_UNREACHABLE, active))
        self.parts.progress.declare_outage(active, self.parts.monotonic())

    def audit_if_due(self, now: int) -> None:
        """Read the account from time to time, also when no cycle does."""
        parts, engine = self.parts, self.engine
        moment = parts.monotonic()
        due = moment - self.audited >= parts.snapshot_s or self.in_doubt() or parts.prompted()
        if due or engine.reading or parts.progress.outage or parts.obedience.waiting:
            engine.audit(now)
        if engine.reads != self.reads:  # a cycle may have read it, too
            self.reads, self.audited = engine.reads, moment
            parts.telemetry.account_read()
            parts.progress.met("account", moment)
            self.declare_outage(now, active=False)
            self.refused = False

    def tell_refused(self, error: UnreachableError, now: int) -> None:
        """Call a person, once, where waiting changes nothing: the key was taken back, say."""
        if not self.refused and error.exit_code != UnreachableError.exit_code:
            self.refused = True
            text = f"{error}; positions stay under their stops, and the bot can do nothing for them"
            log.error("credentials: %s", text)
            self.tell(Level.CRITICAL, "credentials_refused", text, now)

    def in_doubt(self) -> bool:
        """Return whether an order waits for the exchange's word."""
        return any(o.status is Status.UNRESOLVED for o in self.engine.state.orders.values())

    def waits(self) -> bool:
        """Return whether time alone may lead to something: an order without an answer, a position
        without its stop at its level, an exit in FLATTEN, a lock that ends."""
        state = self.engine.state
        if any(not order.rests for order in state.orders.values()):
            return True
        flatten = state.modes.mode == FLATTEN
        return any(
            flatten or state.guards[k].closing or not has_stop(state, k) for k in state.held
        ) or any(guard.locked_until for guard in state.guards)

    def keep_house(self) -> None:
        """Do what may hold up no order: messages, files, and what is due about once a second."""
        parts = self.parts
        moment = parts.monotonic()
        self.note_progress(moment)
        self.post()
        parts.journal.cut_log()
        if moment - self.kept_house < HOUSEKEEPING_S:
            return
        self.kept_house = moment
        if moment - self.pruned >= PRUNE_S:
            self.pruned = moment
            parts.outbox.prune()
        if parts.stop.reload:
            parts.stop.reload = False
            parts.reload()

    def note_progress(self, moment: float) -> None:
        """Meet the deadlines that no single event stands for."""
        state, progress = self.engine.state, self.parts.progress
        if not any(guard.uncovered_since for guard in state.guards):
            progress.met("protection", moment)
        if self.written == self.engine.record.events:  # nothing waits for a commit
            progress.met("journal", moment)
        line = self.parts.line()
        answers = self.answers if line is None else line.answers
        # A market that stands still, as the exchange says itself, is no hang of ours.
        if answers != self.answers or Cause.STALE_DATA in state.modes.causes:
            progress.met("data", moment)
        self.answers = answers

    def ping(self) -> None:
        """Tell the watchdog, if there was progress; say what is missing otherwise."""
        overdue = self.parts.progress.overdue(self.parts.monotonic())
        if overdue:
            log.error("no progress, the watchdog is not pinged: %s", "; ".join(overdue))
            return
        self.parts.notifier.ping()

    def too_large(self) -> bool:
        """Return whether the process has outgrown its limit: it then starts afresh."""
        limit = self.parts.memory_limit
        if limit == 0 or self.parts.resident() <= limit:
            return False
        text = f"memory: expected at most {limit / 2**20:.0f} MiB of our own, restarting"
        log.error(text)
        self.tell(Level.WARNING, "memory", text, self.engine.state.now_ms)
        self.code = 75
        return True
