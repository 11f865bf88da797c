"""The live bot against every fault of the wire at every phase of an order's life.

Over real sockets. Every cell of the matrix at one seed, so that every fault meets another start at
each phase, and every phase all of them; at all seeds, and with the cells that take long, by `make
faults` (scripts/fault_matrix.py).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters import kucoin_client
from tests.support.counts import Count
from tests.support.wire import Simulator, simulator
from tests.support.wire_fault_drill import MARKET, STARTS, FaultDrill
from tests.support.wire_faults import CELLS, FAULTS, Aim, Cell, Phase


def played() -> Iterator[tuple[int, Cell]]:
    """Yield the cells with their seeds; each sort of fault goes through the starts by itself."""
    turns: Counter[Aim] = Counter()
    for fault in FAULTS:
        turns[fault.aim] += 1
        for cell in CELLS:
            if cell.fault is fault and not fault.slow:
                yield (turns[fault.aim] + list(Phase).index(cell.phase)) % len(STARTS), cell


PLAYED = list(played())
TRIED = Count("faults over the wire")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with simulator(*MARKET) as made:
        yield made


def test_every_phase_and_every_fault_meet_every_start() -> None:
    """Starts differ in what matters: the side, and whether orders fill at once or in parts."""
    seeds: dict[object, set[int]] = defaultdict(set)
    for seed, cell in PLAYED:
        seeds[cell.phase, cell.fault.aim].add(seed)
        if len(cell.fault.phases) == len(Phase):
            seeds[cell.fault.name].add(seed)
    assert all(len(found) == len(STARTS) for found in seeds.values()), seeds


@pytest.mark.parametrize(("seed", "cell"), PLAYED, ids=str)
def test_cell(
    seed: int, cell: Cell, exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    with TRIED, closing(FaultDrill(tmp_path / "s", exchange, cell, seed)) as drill:
        drill.play()
    TRIED.add(cells=1)
