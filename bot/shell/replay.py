"""`radbot replay`: decide a journal's events again and compare; the first tool in an incident.

A journal holds every event and what was decided on it, and now and then the whole state. From each
stored state on, the events are given to `core.step` of this release: equal decisions, and an equal
state at the next stored one, mean that the journal is whole and that the code decides as it did.

A bot may go on writing meanwhile: what changes is read at one moment, and events never change.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bot.adapters.journal_reader import JournalReader
from bot.core.errors import BotError, InputError
from bot.core.messages import Effect, Event
from bot.core.state import State
from bot.core.step import step
from bot.shell.offline import template

MOST_SHOWN = 20
TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """An event on which another decision was made, or a stored state that is not reached."""

    n: int
    now_ms: int
    run_id: str
    what: str
    was: list[str]
    now: list[str]


@dataclass(slots=True)
class Replay:
    """What came of it. `differences` holds the first ones; `different` counts them all."""

    first_ms: int = 0
    last_ms: int = 0
    runs: int = 0
    events: int = 0
    skipped: int = 0
    """events of a start whose stored state has made room: there is nothing to decide them from"""
    effects: int = 0
    states: int = 0
    """stored states that were reached again"""
    unclean: int = 0
    """runs that did not end in order"""
    different: int = 0
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep it if it is one of the first."""
        self.different += 1
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(difference)


@dataclass(frozen=True, slots=True)
class Segment:
    """The events [first, end) that follow a stored state of a run."""

    first: int
    end: int
    run_id: str
    next_run: str
    """the run of the stored state at `end`; if it is the same, that state must be reached. Empty
    where none is stored"""


def replay(reader: JournalReader, say: Callable[[int], None] = lambda events: None) -> Replay:
    """Decide everything again that the journal holds; `say` hears the events done so far.

    Raises
    ------
    InputError : there is nothing to replay
    """
    began = time.monotonic()
    out = Replay()
    with reader.at_once():
        stretches = segments(reader)
        newest_state = reader.stored()
        symbols, latest, identities = reader.symbols(), reader.identity(), reader.identities()
        out.runs, out.unclean = reader.runs()
        out.skipped = skipped(reader, stretches)
    if not stretches or newest_state is None:
        raise InputError("journal: expected a stored state to start from, was none")

    def stored_at(n: int, run_id: str) -> State:
        """Return a stored state over the strategies and contracts of its run."""
        return reader.state_at(n, template(list(symbols), identities.get(run_id, latest)))

    state = stored_at(stretches[0].first, stretches[0].run_id)
    for segment, following in zip(stretches, [*stretches[1:], None], strict=True):
        reached = replay_segment(reader, segment, state, out, say)
        if following is None:  # under the parameters in force by then
            stored = reader.restored(newest_state, state)
        else:
            stored = stored_at(following.first, following.run_id)
        if reached and segment.run_id == segment.next_run:
            compare_states(segment, state, stored, out)
        state = stored
    out.seconds = time.monotonic() - began
    return out


def segments(reader: JournalReader) -> list[Segment]:
    """Return the stretches after stored states, each up to the next one, or to a start that has
    none any more: what a start changes is in its stored state alone."""
    oldest, last = reader.oldest_event() or 0, reader.last_event() or 0
    known, starts = reader.identities(), reader.starts()
    stored = [(n, run) for n, _, run in reader.checkpoints() if n >= oldest and run in known]
    if not stored:
        return []
    ends = [*stored[1:], (max(last + 1, stored[-1][0]), stored[-1][1])]
    found = []
    for (n, run), (end, other) in zip(stored, ends, strict=True):
        cut = min((first for first in starts if n < first < end), default=end)
        found.append(Segment(n, cut, run, other if cut == end else ""))
    return found


def skipped(reader: JournalReader, stretches: Sequence[Segment]) -> int:
    """Return how many events are in none of the stretches."""
    known = reader.count_events(0, (reader.last_event() or 0) + 1)
    return known - sum(reader.count_events(one.first, one.end) for one in stretches)


def replay_segment(
    reader: JournalReader,
    segment: Segment,
    state: State,
    out: Replay,
    say: Callable[[int], None],
) -> bool:
    """Step through one stretch; return whether its end was reached."""
    expected = segment.first
    for n, event, told in reader.events(segment.first, segment.end):
        if n != expected:
            break
        expected += 1
        out.first_ms = out.first_ms or event.now_ms
        out.last_ms = max(out.last_ms, event.now_ms)
        out.events += 1
        out.effects += len(told)
        if out.events % TOLD_EVERY == 0:
            say(out.events)
        try:
            decided: Sequence[Effect] = step(state, event)
        except BotError as error:
            what = f"{type(event).__name__} ended the replay of this stretch"
            out.add(Difference(n, event.now_ms, segment.run_id, what, words(told), [str(error)]))
            return False
        if list(decided) != told:
            what = f"another decision on {describe(event)}"
            now = words(decided)
            out.add(Difference(n, event.now_ms, segment.run_id, what, words(told), now))
    if expected < segment.end:
        what = f"events are missing from {expected} on: the journal could not be written"
        out.add(Difference(expected, state.now_ms, segment.run_id, what, [], []))
    return expected == segment.end


def compare_states(segment: Segment, state: State, stored: State, out: Replay) -> None:
    """Compare the state that was reached with the stored one, part by part."""
    pairs = zip(state.digest_parts(), stored.digest_parts(), strict=True)
    names = [now[0] for now, was in pairs if now != was]
    if not names:
        out.states += 1
        return
    what = f"another state at the end of this stretch: {', '.join(names)}"
    out.add(Difference(segment.end, state.now_ms, segment.run_id, what, [], []))


def words(effects: Sequence[Effect]) -> list[str]:
    """Return effects as lines for people."""
    return [describe(effect) for effect in effects]


def describe(thing: Event | Effect) -> str:
    """Return an event or effect in one line."""
    text = repr(thing)
    return text if len(text) <= 300 else f"{text[:297]}..."


def newest(reader: JournalReader, count: int) -> Iterator[tuple[int, Event, list[Effect]]]:
    """Yield the last `count` events and what was decided on them."""
    last = reader.last_event()
    if last is not None:
        yield from reader.events(max(1, last - count + 1))
