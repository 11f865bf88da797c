"""The live bot against every fault of the wire at every phase of an order's life.

Over real sockets. A spread of the matrix, each fault at one of its phases; all of it, at several
seeds, by `make faults` (scripts/fault_matrix.py).
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters import kucoin_client
from tests.support.counts import Count
from tests.support.wire import Simulator, simulator
from tests.support.wire_fault_drill import MARKET, STARTS, FaultDrill
from tests.support.wire_faults import FAULTS, Cell, Phase

SPREAD = [
    (number // len(Phase) % len(STARTS), Cell(fault, fault.phases[number % len(fault.phases)]))
    for number, fault in enumerate(fault for fault in FAULTS if not fault.slow)
]
TRIED = Count("faults over the wire")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with simulator(*MARKET) as made:
        yield made


@pytest.mark.parametrize(("seed", "cell"), SPREAD, ids=str)
def test_cell(
    seed: int, cell: Cell, exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    with TRIED, closing(FaultDrill(tmp_path / "s", exchange, cell, seed)) as drill:
        drill.play()
    TRIED.add(cells=1)
