"""The engine: feeds events to `core.step`, makes them durable, and carries out the effects.

The order of the core's duties is kept for every batch: step, commit, act, feed back. What a batch
leads to is the next batch, so a decision cycle and everything that follows from it at once costs
one commit for each round of answers, not one for each event.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace

from bot.core.errors import BotError, InvariantError, NoAnswerError, UnreachableError
from bot.core.kernel.codes import FLATTEN
from bot.core.kernel.records import Trade
from bot.core.market import DAY_MS, HOUR_MS
from bot.core.messages import (
    CancelOrder,
    Condition,
    Cycle,
    Effect,
    Event,
    History,
    Notice,
    OrderRejected,
    PlaceOrder,
    TradeClosed,
)
from bot.core.modes import Cause
from bot.core.observations import ForeignOrder, ForeignPosition, OutcomeUnknown
from bot.core.reconcile import in_doubt, reconcile
from bot.core.state import State
from bot.core.step import step
from bot.shell.venue import Venue

type Outcome = tuple[Event, list[Effect]]
TOGETHER = 100
"""bars that the indicators alone are shown, with one commit: a start must not take long"""
LOOK_BACK_MS = HOUR_MS  # records this much older than the last read are asked for again


@dataclass(slots=True)
class Record:
    """What a run leaves behind for its summary."""

    trades: list[Trade] = field(default_factory=list)
    daily: list[tuple[int, float]] = field(default_factory=list)
    """(00:00 UTC, equity)"""
    bars: int = 0
    events: int = 0


class Engine:
    """One account on one venue. Not thread-safe: one caller feeds it."""

    def __init__(self, state: State, venue: Venue) -> None:
        """Prepare; whoever runs the engine sets what it calls."""
        self.state = state
        self.venue = venue
        self.commit: Callable[[Sequence[Outcome], State], bool] | None = None
        """makes outcomes durable; returns whether it could"""
        self.listener: Callable[[Event, list[Effect]], None] | None = None
        """told of every event and its effects, when they have been carried out"""
        self.before_acting: Callable[[], None] | None = None
        """called when the mode is FLATTEN, after the commit and before orders go out"""
        self.ending: Callable[[], bool] = lambda: False
        """whether nothing more is to be taken from the venue: somebody ends the run"""
        self.careful = False
        """an event that the core cannot take is left out, and the run goes on without it"""
        self.left_out: Callable[[Event, Exception], None] = lambda event, error: None
        self.record = Record()
        self.errors: list[str] = []
        """kinds of venue errors since somebody looked"""
        self.reading = False
        """a read of the account is under way"""
        self.reads = 0
        """reads of the account that were taken in"""
        self.foreign: tuple[ForeignOrder | ForeignPosition, ...] = ()
        """what the newest of them shows that is not ours"""

    def feed(self, *events: Event) -> None:
        """Take events, then everything that follows from them without time passing."""
        batch: list[Event] = list(events)
        while batch:
            batch = [self.not_before(event) for event in batch]
            outcomes = self.decided(batch)
            self.record.events += len(batch)
            batch = self.act(outcomes, self.made_durable(outcomes))

    def decided(self, events: Sequence[Event]) -> list[Outcome]:
        """Let the core take events. What raises ends the process, because state is half changed;
        where the engine is careful, state is put back instead."""
        if not self.careful:
            return [(event, step(self.state, event)) for event in events]
        outcomes = []
        for event in events:
            before = deepcopy(self.state)
            try:
                outcomes.append((event, step(self.state, event)))
            except Exception as error:
                for part in fields(State):
                    setattr(self.state, part.name, getattr(before, part.name))
                self.left_out(event, error)
        return outcomes

    def not_before(self, event: Event) -> Event:
        """Return an event of the exchange that came late as one of now: its channels and clocks
        run apart, and time must not run backwards. Bars keep the time they belong to."""
        now = self.state.now_ms
        if event.now_ms >= now or isinstance(event, Cycle | History):
            return event
        return replace(event, now_ms=now)

    def made_durable(self, outcomes: Sequence[Outcome]) -> bool:
        """Commit; return whether what follows may open new risk."""
        return self.commit is None or self.commit(outcomes, self.state)

    def act(self, outcomes: Sequence[Outcome], durable: bool) -> list[Event]:
        """Carry out the effects in their order, then tell who listens; return what comes back at
        once.

        Without a durable record only what reduces risk is sent.
        """
        answers: list[Event] = []
        if self.before_acting is not None and self.state.modes.mode == FLATTEN:
            self.before_acting()
        for effect in (effect for _, effects in outcomes for effect in effects):
            answer = self.carry_out(effect, durable)
            if answer is not None:
                answers.append(answer)
        if self.listener is not None:
            for event, effects in outcomes:
                self.listener(event, effects)
        failed = Cause.JOURNAL_FAILED in self.state.modes.causes
        if durable == failed:
            answers.append(Condition(self.state.now_ms, Cause.JOURNAL_FAILED, not durable))
        return answers

    def carry_out(self, effect: Effect, durable: bool) -> Event | None:
        """Do what the core asks; return the exchange's immediate answer."""
        now = self.state.now_ms
        if isinstance(effect, PlaceOrder):
            return self.place(effect, durable)
        if isinstance(effect, CancelOrder):
            try:
                with failing_as(NoAnswerError, active=self.careful):
                    return self.venue.cancel(effect, now)
            except (NoAnswerError, UnreachableError) as error:
                self.errors.append("timeout" if isinstance(error, NoAnswerError) else "unreachable")
                return None  # the next read shows the order open, and the wish is repeated
        if isinstance(effect, TradeClosed):
            self.record.trades.append(effect.trade)
            return None
        if isinstance(effect, Notice):
            return None
        raise InvariantError(f"unknown effect {effect!r}")

    def place(self, order: PlaceOrder, durable: bool) -> Event | None:
        """Send an order; an outcome that is not known is said to be unknown, never guessed."""
        now = self.state.now_ms
        if not durable and not order.reduce_only:
            return OrderRejected(now, order.client_id, "the journal cannot be written", local=True)
        if self.ending() and not order.reduce_only:
            return OrderRejected(now, order.client_id, "the bot is being stopped", local=True)
        try:
            with failing_as(NoAnswerError, active=self.careful):
                return self.venue.submit(order, now)
        except NoAnswerError:
            self.errors.append("timeout")
            return OutcomeUnknown(now, order.client_id)
        except UnreachableError as error:
            self.errors.append("unreachable")
            return OrderRejected(now, order.client_id, str(error), local=True)

    def pump(self, until_ms: int) -> None:
        """Take everything that has happened up to `until_ms`, or until the run is to end.

        One event at a time: what follows from it comes before the next is asked for. From bars that
        only the indicators see nothing follows: a warm-up has hundreds, and many share a commit.
        """
        seen: list[Event] = []
        with failing_as(UnreachableError, active=self.careful):
            try:
                while not self.ending() and (event := self.venue.poll(until_ms)) is not None:
                    if isinstance(event, History):
                        seen.append(event)
                        if len(seen) == TOGETHER:
                            self.feed_all(seen)
                        continue
                    self.feed_all(seen)
                    self.feed(event)
                    if isinstance(event, Cycle):
                        self.after_cycle(event)
            finally:  # the venue does not tell them again
                self.feed_all(seen)

    def feed_all(self, events: list[Event]) -> None:
        """Feed what has been collected, and forget it, whatever comes of it."""
        batch = events.copy()
        events.clear()
        self.feed(*batch)

    def after_cycle(self, cycle: Cycle) -> None:
        """Check the books against the venue, and keep what the summary needs."""
        self.audit()
        equity = self.state.world.account.equity
        if not self.state.doubted:
            self.venue.check_equity(equity)
        self.record.bars += sum(bar is not None for bar in cycle.bars)
        if cycle.now_ms % DAY_MS == 0:
            self.record.daily.append((cycle.now_ms, equity))

    def audit(self, now: int = 0) -> bool:
        """Read the account and repair what the books have wrong.

        Return False while the read is under way: call again. Raises UnreachableError.
        """
        state = self.state
        since = state.read_ms - LOOK_BACK_MS
        self.reading = False
        with failing_as(UnreachableError, active=self.careful):
            seen = self.venue.snapshot(in_doubt(state), since, max(now, state.now_ms))
            if seen is None:
                self.reading = True
                return False
            foreign = []
            for event in reconcile(state, seen):
                if isinstance(event, ForeignOrder | ForeignPosition):
                    foreign.append(event)
                self.feed(event)
            self.foreign = tuple(foreign)
        state.read_ms = max(state.read_ms, seen.now_ms)
        self.reads += 1
        return True


@contextmanager
def failing_as(kind: type[BotError], *, active: bool) -> Iterator[None]:
    """Where `active`, let an exception be one of `kind`; one that has an exit code of its own stays
    what it is."""
    try:
        yield
    except Exception as error:
        own = isinstance(error, BotError) and error.exit_code != BotError.exit_code
        if own or not active:
            raise
        raise kind(f"{type(error).__name__}: {error}") from error
