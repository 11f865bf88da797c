"""Every fault at every phase of an order's life: nothing lost, nothing doubled, covered in time,
flat by the kill switch, and every decision reproduced from the journal. `make chaos` tries more.
"""

from contextlib import closing
from pathlib import Path

import pytest

from bot.core.modes import Cause
from bot.sim.faults import Kind
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
