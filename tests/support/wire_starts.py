"""Finds rows of the drills' market at which a new bot enters at once, and replaces its stop soon.

    python -m tests.support.wire_starts 640 1040 10000

prints one line for each row from 640 on where the market has 10,000 contracts at a price: row,
symbol, side and contracts of the entry, seconds of market time until it goes out and until the
first stop is replaced. Nothing goes wrong meanwhile.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bot.core.messages import Effect, Event, PlaceOrder, Role
from tests.support.wire import Simulator, simulator
from tests.support.wire_drills import WireDrill
from tests.support.wire_fault_drill import MARKET, Start

ENTRY_BARS, STOP_BARS = 1, 3


def story(exchange: Simulator, folder: Path, start: Start) -> Iterator[str]:
    """Yield a line when a bot that starts there soon enters and replaces its stop."""
    exchange.ask("reset", start.setting())
    drill = WireDrill(folder, exchange)
    begin_ms = drill.clock.now_ms
    entries: list[tuple[PlaceOrder, float]] = []
    stops: list[float] = []

    def listen(event: Event, effects: list[Effect]) -> None:
        seconds = (drill.clock.now_ms - begin_ms) / 1000.0
        for order in effects:
            if isinstance(order, PlaceOrder) and order.role is Role.ENTRY:
                entries.append((order, seconds))
            elif isinstance(order, PlaceOrder) and order.role is Role.STOP:
                late = bool(entries) and seconds > entries[0][1] + 30.0
                stops.extend([seconds] if late else [])

    drill.daemon.parts.listeners.append(listen)
    try:
        drill.start()
        drill.run_bars(ENTRY_BARS)
        if entries:
            drill.run_bars(STOP_BARS - ENTRY_BARS)
    finally:
        drill.close()
    if entries and stops:
        order, at = entries[0]
        name = drill.state.symbols[order.symbol]
        yield f"{start.row} {name} {order.side:+d} {order.contracts:g} {at:g} {stops[0]:g}"


def main() -> None:
    first, last, depth = map(int, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder, simulator(*MARKET) as exchange:
        os.environ["RADBOT_LOCK_DIR"] = folder
        for row in range(first, last):
            for line in story(exchange, Path(folder) / str(row), Start(row, depth)):
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
