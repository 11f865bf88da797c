"""What the long tests tried, said at the end of a run: counts, seeds, seconds."""

import os
import time

SAID: dict[str, "Count"] = {}
CHAOS = int(os.environ.get("CHAOS", "1"))
"""how many times more the long tests try than usually; `make chaos` sets it"""


class Count:
    """A line of counts under a heading."""

    def __init__(self, heading: str) -> None:
        self.heading = heading
        self.numbers: dict[str, int] = {}
        self.seconds = 0.0
        self.began = 0.0
        SAID[heading] = self

    def add(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self.numbers[name] = self.numbers.get(name, 0) + number

    def __enter__(self) -> "Count":
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.monotonic() - self.began

    def line(self) -> str:
        """Return the line, empty when nothing was counted."""
        parts = ", ".join(f"{number:,} {name}" for name, number in self.numbers.items())
        took = f"; {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.heading}: {parts}{took}" if parts else ""
