"""What goes out to the sockets, and what faults do to a push on its way.

A push that goes to several connections is one event: a fault happens to it on all of them.
"""

import asyncio
from collections.abc import Callable, Sequence

from ops.exchange.connection import Connection
from ops.exchange.faults import Fault, Faults, wait_for

MOST_LATE = 1_000  # pushes that are held back
REORDER_S = 1.0  # until a frame that waits for the next one goes out alone

Deliveries = Sequence[tuple[Connection, str]]


class Outgoing:
    """Queues frames at their connections, now or later."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.late: set[asyncio.Task[None]] = set()
        """one for each push that is held back"""

    def send(self, connection: Connection, frame: str) -> None:
        """Queue a frame, unless the sockets have to be silent."""
        if not self.faults.stands("ws_silent"):
            connection.put(frame)

    def push(self, deliveries: Deliveries) -> None:
        """Send frames, and after each what waited to change places with it."""
        for connection, frame in deliveries:
            self.send(connection, frame)
            self.let_go(connection)

    def let_go(self, connection: Connection) -> None:
        """Send what waits to change places."""
        swapped, connection.swapped = connection.swapped, []
        for frame in swapped:
            self.send(connection, frame)

    def deliver(self, fault: Fault | None, deliveries: Deliveries) -> None:
        """Send a push, or do to it what a fault says."""
        if fault is None:
            self.push(deliveries)
            return
        match fault.kind:
            case "ws_drop":
                pass
            case "ws_delay":
                self.later(fault.spec["seconds"], lambda: self.push(deliveries))
            case "ws_reorder":
                self.hold(fault.spec.get("seconds", REORDER_S), deliveries)
            case "ws_duplicate":
                self.push(deliveries)
                self.push(deliveries)
            case _:
                self.push(deliveries)

    def hold(self, seconds: float, deliveries: Deliveries) -> None:
        """Keep frames until the next one of their connection is out, or for so long."""
        held: dict[Connection, list[str]] = {}
        for connection, frame in deliveries:
            held.setdefault(connection, []).append(frame)
        for connection, frames in held.items():
            self.let_go(connection)
            connection.swapped = frames

        def release() -> None:
            for connection, frames in held.items():
                if connection.swapped is frames:
                    self.let_go(connection)

        self.later(seconds, release)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after real seconds; at once when too much waits already."""
        if len(self.late) >= MOST_LATE:
            act()
            return

        cleared = self.faults.cleared

        async def wait() -> None:
            await wait_for(cleared, seconds)
            act()

        task = asyncio.create_task(wait())
        self.late.add(task)
        task.add_done_callback(self.late.discard)

    def close(self) -> None:
        """Forget what is held back."""
        for task in self.late:
            task.cancel()
