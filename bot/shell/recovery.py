"""Recovery is the only start: a new bot is one that has nothing to recover.

Order (DESIGN section 5): latches; a read of the account; orders in doubt, fills, positions, and
with them the stops, which `step` repairs as soon as it sees them missing; the bars that were
missed; then entries. Every transition is committed as usual, so recovery may be killed and begun
again anywhere.
"""

import time
from itertools import batched
from typing import Protocol

from bot.core.history import MOST_MISSED
from bot.core.market import Row
from bot.core.messages import Command, Condition, History, Operator, Rewarm, Tick
from bot.core.modes import Cause
from bot.core.state import State
from bot.shell.engine import LOOK_BACK_MS, TOGETHER, Engine
from bot.shell.venue import Venue

SEQUENCE_GAP = 1_000_000
"""orders that may have gone out without being written, before the process died"""


def skip_unwritten(state: State) -> None:
    """Leave the order ids out that a process that died may have used without writing them.

    Before the run begins: its first checkpoint must hold it.
    """
    if state.sequence % SEQUENCE_GAP:
        state.sequence += SEQUENCE_GAP


def begin_anew(state: State, now: int) -> None:
    """Begin a new journal on an account that was traded before. The lost one has used order ids,
    which are never used again, and what it has booked up to exchange time `now` is in the wallet.
    """
    state.sequence = int(time.time() * 1000.0)
    state.read_ms = now + 1 + LOOK_BACK_MS


class MissedMarket(Venue, Protocol):
    """A venue that knows the bars a bot has missed."""

    def bars(self, after_ms: int, before_ms: int) -> list[Row]:
        """Return the rows whose bars ended in (after_ms, before_ms)."""

    def decides_ms(self) -> int | None:
        """Return the time of the cycle that comes next."""


def recover(
    engine: Engine,
    missed: MissedMarket | None,
    now: int,
    *,
    latched: str | None,
    warmup_rows: int,
) -> None:
    """Bring the books to the exchange's truth; return when entries may be thought of.

    Parameters
    ----------
    missed : knows the bars that were missed; None where the venue tells them itself
    now : exchange time, ms
    latched : the reason in the latch file, None when there is none
    warmup_rows : bars that warm the indicators up

    Raises
    ------
    UnreachableError : the account could not be read; call again
    """
    state = engine.state
    now = max(now, state.now_ms)
    if latched is not None and Cause.KILL_SWITCH not in state.modes.causes:
        engine.feed(Operator(state.now_ms, Command.KILL, latched))
    engine.feed(Condition(state.now_ms, Cause.RECOVERING, True))
    engine.audit(now)
    if missed is not None:
        see_missed(engine, missed, warmup_rows)
    # Deadlines: what is uncovered gets its stop, and FLATTEN its exits.
    engine.feed(Tick(max(now, state.now_ms)))
    engine.audit()
    if Cause.STOPPING in state.modes.causes:  # the last process did not get to its end
        engine.feed(Condition(state.now_ms, Cause.STOPPING, False))
    engine.feed(Condition(state.now_ms, Cause.RECOVERING, False))


def see_missed(engine: Engine, venue: MissedMarket, warmup_rows: int) -> None:
    """Show the indicators the bars that ended since the last decision; nothing is decided on them
    any more."""
    state = engine.state
    before = venue.decides_ms()
    if state.decided_ms == 0 or before is None:
        return
    length = state.world.params.timeframe_ms
    rows = venue.bars(state.decided_ms, before)
    missed = len(rows)
    if missed > MOST_MISSED:
        rows = venue.bars(before - (warmup_rows + 1) * length, before)
        engine.feed(Rewarm(state.now_ms, missed))
    for some in batched(rows, TOGETHER):
        engine.feed(*(History(row.open_ms + length, row.bars) for row in some))
