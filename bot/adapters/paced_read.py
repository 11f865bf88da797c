"""A read of the exchange that the trading loop looks at again and again, and does not wait for."""

import math
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from random import Random
from typing import Any

from bot.adapters.wire_thread import WireThread
from bot.core.errors import UnreachableError

READ_S = 15.0  # one read of the account, with its tries; below the account's progress deadline
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""before a read that failed is tried again: from, to; with jitter"""


class PacedRead[T]:
    """One read at a time; after one that fails a pause, longer every time. The loop's alone."""

    def __init__(
        self,
        wire: WireThread,
        wake: Callable[[], None],
        rng: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wire, self.wake, self.monotonic = wire, wake, monotonic
        self.rng = rng if rng is not None else Random()
        self.pending: Future[T] | None = None
        self.began_s = -math.inf
        self.pause_s = FIRST_PAUSE_S
        self.failed_s, self.wait_s = 0.0, 0.0
        self.patient = False
        """reads are waited for, and begun without a pause: while the bot starts, and for
        emergencies"""

    @contextmanager
    def waited_for(self) -> Iterator[None]:
        """Be patient inside the block."""
        self.patient = True
        try:
            yield
        finally:
            self.patient = False

    def may_begin(self, longest_s: float = math.inf) -> bool:
        """Return whether the pause after a failure is over, or has lasted for `longest_s`."""
        waited_s = self.monotonic() - self.failed_s
        return self.patient or waited_s >= min(self.wait_s, longest_s)

    def begin(self, work: Coroutine[Any, Any, T]) -> None:
        """Begin to read."""
        self.began_s = self.monotonic()
        self.pending = self.wire.start(work, self.wake)

    def take(self) -> T | None:
        """Return what was read, None while it is under way. Raises UnreachableError; then the next
        read waits."""
        reading = self.pending
        assert reading is not None
        late = self.monotonic() - self.began_s > READ_S
        if not self.patient and not reading.done() and not late:
            return None
        self.pending = None
        try:
            seen = self.wire.wait(reading, READ_S if self.patient else 0.0)
        except (UnreachableError, TimeoutError) as error:
            self.later()
            if isinstance(error, UnreachableError):
                raise
            raise UnreachableError(f"the exchange was not read within {READ_S:g} s") from error
        self.pause_s, self.wait_s = FIRST_PAUSE_S, 0.0
        return seen

    def later(self) -> None:
        """Put the next read off, because the exchange is not to be reached."""
        self.failed_s = self.monotonic()
        self.wait_s = self.pause_s * (0.5 + self.rng.random())
        self.pause_s = min(2.0 * self.pause_s, LONGEST_PAUSE_S)
