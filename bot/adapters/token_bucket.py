"""One request budget for the account, by priority: reducing risk goes first (DESIGN section 5).

Rules of this file: what was taken counts for a whole window, so no window of that length, wherever
the exchange lets it begin, holds more than the budget. Waiters go strictly by priority, then in
the order they came; a large one is not overtaken by small ones behind it. A part of the budget is
kept for REDUCE alone. The exchange's own count can only lower ours: ours also knows the requests
that are still on their way. One event loop, no threads.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heappush
from math import ceil
from random import Random

from bot.core.errors import InvariantError, UnreachableError

LIMIT, WINDOW_S = 2000, 30.0  # the smallest pools of KuCoin (API reference, section 7)
RESERVE = 0.2  # share of the budget that only REDUCE may use
SLOT_S = 0.125  # what was taken is remembered in steps of this, a power of two: exact
MOST_WAITING = 500
LONGEST_BLOCK_S = 60.0  # whatever a header says
LEAST_LIMIT = 200  # KuCoin has no smaller pool: a header that says so is wrong
JITTER = 0.25  # a block lasts up to this share longer
SHORTEST_TIMER_S = 0.001


class Priority(IntEnum):
    """Who goes first. Entries go behind account reads: they are judged against what those say."""

    REDUCE = 0
    """stops, exits, cancels"""
    ACCOUNT = 1
    ENTRY = 2
    MARKET = 3


@dataclass(order=True, slots=True)
class _Waiter:
    priority: Priority
    number: int
    weight: int = field(compare=False)
    granted: "asyncio.Future[None]" = field(compare=False)


class TokenBucket:
    """The budget: `limit` weight in any `window_s` seconds."""

    def __init__(
        self,
        limit: int = LIMIT,
        window_s: float = WINDOW_S,
        monotonic: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        self.limit = self._own_limit = limit
        self.window_s = window_s
        self._monotonic = monotonic
        self._rng = rng if rng is not None else Random()
        self._taken: dict[int, int] = {}
        """weight by the slot in which it is given back; at most a window of slots"""
        self._used = 0
        self._blocked_until = 0.0
        self._waiting: list[_Waiter] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def level(self) -> float:
        """The share of the budget that is left, 0 to 1; 0 while everything is blocked. Changes
        nothing, so that any thread may look."""
        now = self._monotonic()
        if now < self._blocked_until:
            return 0.0
        used = sum(weight for slot, weight in list(self._taken.items()) if slot * SLOT_S > now)
        return max(0.0, 1.0 - used / self.limit)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def take(self, weight: int, priority: Priority) -> None:
        """Wait until a request of that weight may go out.

        Raises
        ------
        UnreachableError : more requests wait already than make sense
        """
        if weight < 1:
            raise InvariantError(f"expected a weight of 1 or more, was {weight}")
        if len(self._waiting) >= MOST_WAITING * (2 if priority is Priority.REDUCE else 1):
            raise UnreachableError(f"{len(self._waiting)} requests wait for the request budget")
        self._number += 1
        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(priority, self._number, weight, granted)
        heappush(self._waiting, waiter)
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                heapify(self._waiting)
                self._grant()  # those behind it may fit
            raise

    def told(self, limit: int, remaining: int, reset_ms: int) -> None:
        """Take over the exchange's count from an answer: `remaining` of `limit` until its window
        ends in `reset_ms`. Somebody else may use the same budget, or a weight may be higher than we
        thought."""
        now = self._monotonic()
        self._give_back(now)
        if limit >= LEAST_LIMIT:
            self.limit = min(self._own_limit, limit)
        others = self.limit - self._used - max(remaining, 0)
        if others > 0:
            self._count(others, now + min(max(reset_ms / 1000.0, 0.0), self.window_s))

    def block(self, seconds: float) -> None:
        """Hold everything, REDUCE too: the exchange answers nothing for so long (429)."""
        length = min(max(seconds, 0.0), LONGEST_BLOCK_S) * (1.0 + JITTER * self._rng.random())
        self._blocked_until = max(self._blocked_until, self._monotonic() + length)

    def wait_s(self, weight: int, priority: Priority) -> float:
        """Return in how many seconds a request could go out if nobody was before it; one that is
        larger than the budget when all of it is free."""
        now = self._monotonic()
        self._give_back(now)
        at, room = now, self._share(priority) - self._used
        for slot in sorted(self._taken):
            if room >= weight:
                break
            at, room = slot * SLOT_S, room + self._taken[slot]
        return max(at, self._blocked_until) - now

    def _share(self, priority: Priority) -> int:
        if priority is Priority.REDUCE:
            return self.limit
        return self.limit - ceil(RESERVE * self.limit)

    def _grant(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if self.wait_s(first.weight, first.priority) > 0.0:
                break
            heappop(self._waiting)
            if not first.granted.done():  # else its task was cancelled, and is about to notice
                self._count(first.weight, self._monotonic() + self.window_s)
                first.granted.set_result(None)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            first = self._waiting[0]
            wait_s = max(self.wait_s(first.weight, first.priority), SHORTEST_TIMER_S)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._grant)

    def _count(self, weight: int, until: float) -> None:
        slot = ceil(until / SLOT_S)
        self._taken[slot] = self._taken.get(slot, 0) + weight
        self._used += weight

    def _give_back(self, now: float) -> None:
        for slot in [slot for slot in self._taken if slot * SLOT_S <= now]:
            self._used -= self._taken.pop(slot)
