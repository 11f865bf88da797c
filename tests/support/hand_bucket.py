"""The request budget of a drill, in its own time, and a client that knows who waits for it."""

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from math import inf
from typing import Any

from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.token_bucket import TRY_S, Priority, TokenBucket

SETTLED = 5
"""turns of the loop in which nothing begins or ends"""


class HandBucket(TokenBucket):
    """The real budget, counted in the time of a clock that a drill moves; its timer rings when the
    drill says so."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__(monotonic=monotonic)
        self.pauses: list[float] = []
        """how long each was meant to be, s"""
        self.tries: list[tuple[float, Priority]] = []
        """what went out in a pause, and when"""
        self.asking: list[tuple[Priority, float]] = []
        """who waits, and since when"""
        self.overtaken = 0
        """how often something went out while something more urgent had been waiting"""

    async def take(self, weight: int, priority: Priority, within_s: float = inf) -> bool:
        asked = (priority, self._monotonic())
        self.asking.append(asked)
        try:
            trying = await super().take(weight, priority, within_s)
        finally:
            self.asking.remove(asked)
        now = self._monotonic()
        self.overtaken += any(other < priority and since < now for other, since in self.asking)
        if trying:
            self.tries.append((now, priority))
        return trying

    def block(self, seconds: float) -> None:
        super().block(seconds)
        self.pauses.append(self._blocked_until - self._monotonic())

    def check(self) -> None:
        """See that in pauses one urgent request went out at a time, the most urgent first."""
        assert self.overtaken == 0
        assert all(priority <= Priority.ACCOUNT for _, priority in self.tries), self.tries
        times = [at for at, _ in self.tries]
        assert all(after - at >= TRY_S for at, after in pairwise(times)), times

    def _set_timer(self) -> None:
        """Nothing: real seconds say nothing here."""

    async def ring(self) -> None:
        """Let those go whose time has come."""
        self._grant()


@cache
def authorities() -> ssl.SSLContext:
    """Return what ccxt makes for itself at every start: the certificates are read only once here,
    where nothing is encrypted."""
    return ssl.create_default_context()


class HandClient(KucoinClient):
    """Knows whether everything that is under way waits for the budget, and so for the clock."""

    under_way = 0

    async def open(self) -> None:
        self.ccxt.ssl_context = authorities()
        await super().open()

    async def read(self, *args: Any, **named: Any) -> Any:
        self.under_way += 1
        try:
            return await super().read(*args, **named)
        finally:
            self.under_way -= 1

    async def send(self, *args: Any, **named: Any) -> Any:
        self.under_way += 1
        try:
            return await super().send(*args, **named)
        finally:
            self.under_way -= 1

    async def waits(self) -> bool:
        """Return whether nothing more will happen before time goes on."""
        for _ in range(SETTLED):
            if not 0 < self.under_way == self.bucket.waiting:
                return False
            await asyncio.sleep(0)
        return True
