"""The live bot against every fault of the wire at every phase of an order's life.

Over real sockets. Every cell of the matrix at one seed, another one from cell to cell; at all
seeds, and with the cells that take long, by `make faults` (scripts/fault_matrix.py).
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters import kucoin_client
from tests.support.counts import Count
from tests.support.wire import Simulator, simulator
from tests.support.wire_fault_drill import MARKET, STARTS, FaultDrill
from tests.support.wire_faults import CELLS, Cell

PLAYED = [
    (number % len(STARTS), cell)
    for number, cell in enumerate(cell for cell in CELLS if not cell.fault.slow)
]
TRIED = Count("faults over the wire")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with simulator(*MARKET) as made:
        yield made


@pytest.mark.parametrize(("seed", "cell"), PLAYED, ids=str)
def test_cell(
    seed: int, cell: Cell, exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    with TRIED, closing(FaultDrill(tmp_path / "s", exchange, cell, seed)) as drill:
        drill.play()
    TRIED.add(cells=1)
