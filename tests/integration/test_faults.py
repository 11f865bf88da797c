"""Every fault at every phase of an order's life: nothing lost, nothing doubled, covered in time,
flat by the kill switch, and every decision reproduced from the journal. `make chaos` tries more.
"""

from contextlib import closing
from pathlib import Path

import pytest

from bot.core.messages import Role
from bot.core.modes import Cause
from bot.core.protect import has_stop
from bot.sim.faults import Fault, Kind, Moment
from tests.support.counts import CHAOS, Count
from tests.support.drills import AFTER_BARS, CONFIG, STEP_MS, Drill
from tests.support.fault_plans import CELLS, Cell, name_of, single, storm

SEEDS = range(2, 2 + min(CHAOS + 1, 4))
STORMS = range(24 * CHAOS)
TRIED = Count("faults")


def end(drill: Drill) -> None:
    """Check everything, kill, check again, replay."""
    drill.check()
    drill.kill()
    drill.close()
    TRIED.add(cases=1, faults=len(drill.venue.fired), events=drill.replayed())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("profile", ["bar", "tick"])
@pytest.mark.parametrize("cell", CELLS, ids=name_of)
def test_one_fault(cell: Cell, profile: str, seed: int, tmp_path: Path) -> None:
    with TRIED, closing(Drill(tmp_path, profile, seed, single(cell, seed))) as drill:
        drill.run()
        assert not drill.venue.waiting, "the fault never came"
        if cell[0] is Kind.FOREIGN_ORDER:
            assert Cause.FOREIGN_ORDER in drill.state.modes.causes
        end(drill)


@pytest.mark.parametrize("seed", STORMS)
@pytest.mark.parametrize("profile", ["bar", "tick"])
def test_a_storm(profile: str, seed: int, tmp_path: Path) -> None:
    with TRIED, closing(Drill(tmp_path, profile, 2 + seed % 7, storm(seed))) as drill:
        drill.run()
        drill.venue.waiting.clear()  # what had no chance to come stays away
        for _ in range(AFTER_BARS * CONFIG.timeframe_ms // STEP_MS):
            drill.turn()
        assert drill.venue.fired
        end(drill)


def test_a_stop_that_found_no_line_is_at_its_level_before_the_next_bar(tmp_path: Path) -> None:
    """The older one covers, and nothing happens that could remind the bot of it: time does."""
    plan = [Fault(Kind.DISCONNECT, Role.STOP, Moment.SEND, 4, 5.0)]  # the first that moves a level
    with closing(Drill(tmp_path, "bar", SEEDS[0], plan)) as drill:
        while not drill.venue.fired:
            drill.turn()
        state = drill.state
        [k] = [k for k in state.held if not has_stop(state, k)]
        assert state.covered(k) >= state.world.positions[k].contracts
        bars = state.world.symbols[k].bars
        for _ in range(20_000 // STEP_MS):
            drill.turn()
        assert has_stop(state, k)
        assert state.world.symbols[k].bars == bars
