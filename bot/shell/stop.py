"""The wish to end, as a flag: a process that trades ends between two events, never inside one."""

import os
import select
import signal
from contextlib import suppress
from types import FrameType

CLOSED = -1
"""no file has this number"""
_early: list[int] = []
"""SIGHUP that came before anybody could take it"""


def remember_early() -> None:
    """Keep SIGHUP from ending a process that is still being loaded; its `Stop` takes it then."""
    signal.signal(signal.SIGHUP, lambda number, _: _early.append(number))


class Stop:
    """Turns SIGINT and SIGTERM into a flag, and SIGHUP into another, for as long as it is
    entered."""

    def __init__(self) -> None:
        self.asked = False
        self.reload = False
        # A pipe and not a threading.Event: a handler that runs inside Event.wait would lock up.
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def __enter__(self) -> "Stop":
        self.previous = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        self.previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._ask_reload)
        self.reload |= bool(_early)
        _early.clear()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        ends = self._reader, self._writer
        # A thread may wake late, when the numbers are those of files that were opened since.
        self._reader = self._writer = CLOSED
        for end in ends:
            os.close(end)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self.wake()

    def _ask_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload = True
        self.wake()

    def wake(self) -> None:
        """End a `wait` early; any thread may."""
        with suppress(BlockingIOError, OSError):  # full: it wakes anyway; closed: nobody waits
            os.write(self._writer, b".")

    def wait(self, seconds: float) -> None:
        """Sleep, but not past a wish or a `wake`."""
        if not self.asked:
            self.pause(seconds)

    def pause(self, seconds: float) -> None:
        """Sleep, but not past a `wake`; for what is still to be done when the end was asked for."""
        ready, _, _ = select.select([self._reader], [], [], max(seconds, 0.0))
        if ready:
            os.read(self._reader, 4096)
