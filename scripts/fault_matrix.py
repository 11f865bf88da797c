"""The live bot against every fault of the wire, at every phase of an order's life: `make faults`.

Prints the matrix; exit 1 when a cell breaks a guarantee, 2 when there is none to play.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bot.adapters import kucoin_client
from tests.support.wire import Simulator, simulator
from tests.support.wire_fault_drill import MARKET, STARTS, FaultDrill
from tests.support.wire_faults import CELLS, FAULTS, Cell, Phase

WIDTH = 18
PAUSE_S = 0.01  # between tries of a read: the market's time stands still meanwhile


def played(exchange: Simulator, cell: Cell, seed: int) -> str:
    """Play one cell; return what broke, empty when nothing did."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RADBOT_LOCK_DIR"] = folder
        drill = FaultDrill(Path(folder) / "s", exchange, cell, seed)
        try:
            drill.play()
        except Exception as error:  # a broken guarantee, or a bot that has come to an end
            return f"{type(error).__name__}: {error}".splitlines()[0][:200]
        finally:
            drill.close()
    return ""


def main() -> int:
    """Play the matrix; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=len(STARTS), metavar="N")
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose name has this")
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds: expected at least 1, was {args.seeds}")
    faults = [fault for fault in FAULTS if args.only in fault.name]
    if not faults:  # nothing tried is nothing shown
        names = ", ".join(fault.name for fault in FAULTS)
        parser.error(f"--only: expected a part of one of {names}, was {args.only!r}")
    kucoin_client.PAUSE_S = PAUSE_S
    logging.disable(logging.ERROR)  # faults are what is wanted here
    cells = {(cell.fault.name, cell.phase): cell for cell in CELLS}
    broken: list[str] = []
    began = time.monotonic()
    print(f"{'fault':<28}" + "".join(f"{phase.value:<{WIDTH}}" for phase in Phase))
    with simulator(*MARKET) as exchange:
        for fault in faults:
            print(f"{fault.name:<28}", end="", flush=True)
            for phase in Phase:
                cell = cells.get((fault.name, phase))
                shown = "-"
                if cell is not None:
                    start = time.monotonic()
                    found = [(n, played(exchange, cell, n)) for n in range(args.seeds)]
                    bad = [f"{cell}, seed {seed}: {what}" for seed, what in found if what]
                    broken += bad
                    seconds = time.monotonic() - start
                    shown = f"{f'{len(bad)} BROKEN' if bad else 'ok'} {seconds:.1f} s"
                print(f"{shown:<{WIDTH}}", end="", flush=True)
            print()
    tried = sum(args.only in cell.fault.name for cell in CELLS) * args.seeds
    print(f"\n{tried} cells at {args.seeds} seeds in {time.monotonic() - began:.0f} s, ", end="")
    print(f"{len(broken)} broken")
    print("\n".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
