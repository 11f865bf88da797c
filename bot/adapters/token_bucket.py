"""One request budget for the account, by priority: reducing risk goes first (DESIGN section 5).

Rules of this file: what was taken counts for a whole window, so no window of that length, wherever
the exchange lets it begin, holds more than the budget. Waiters go strictly by priority, then in
the order they came; a large one is not overtaken by small ones behind it. A part of the budget is
kept for REDUCE alone. The exchange's own count can only lower ours: ours also knows the requests
that are still on their way. A pause after a 429 is a guess of ours, and a position may be without a
stop meanwhile: one urgent request at a time tries through it. One event loop, no threads.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heappush
from math import ceil, inf
from random import Random

from bot.core.errors import InvariantError, UnreachableError

LIMIT, WINDOW_S = 2000, 30.0  # the smallest pools of KuCoin (API reference, section 7)
RESERVE = 0.2  # share of the budget that only REDUCE may use
SLOT_S = 0.125  # what was taken is remembered in steps of this, a power of two: exact
MOST_WAITING = 500
LONGEST_BLOCK_S = 60.0  # whatever a header says
LEAST_LIMIT = 200  # KuCoin has no smaller pool: a header that says so is wrong
JITTER = 0.25  # a block lasts up to this share longer
TRY_S = 2.0  # between two tries through a block: a stop is late after 5 s
SHORTEST_TIMER_S = 0.001


class Priority(IntEnum):
    """Who goes first. Entries go behind account reads: they are judged against what those say."""

    REDUCE = 0
    """stops, exits, cancels"""
    ACCOUNT = 1
    """reads that may find a position without a stop; the last that is urgent"""
    ENTRY = 2
    MARKET = 3


@dataclass(order=True, slots=True)
class _Waiter:
    priority: Priority
    number: int
    weight: int = field(compare=False)
    granted: "asyncio.Future[bool]" = field(compare=False)
    until: float = field(compare=False)
    """when it gives up"""


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
        self._blocked_until = self._next_try = 0.0
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

    async def take(self, weight: int, priority: Priority, within_s: float = inf) -> bool:
        """Wait until a request of that weight may go out. Return whether it goes out as a try while
        the rest is held back: when it is answered, call `unblock`.

        Raises
        ------
        UnreachableError : more requests wait already than make sense, or it may not go `within_s`
        """
        if weight < 1:
            raise InvariantError(f"expected a weight of 1 or more, was {weight}")
        if len(self._waiting) >= MOST_WAITING * (2 if priority is Priority.REDUCE else 1):
            raise UnreachableError(f"{len(self._waiting)} requests wait for the request budget")
        self._number += 1
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        until = self._monotonic() + within_s
        waiter = _Waiter(priority, self._number, weight, granted, until)
        heappush(self._waiting, waiter)
        self._grant()
        try:
            return await granted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                heapify(self._waiting)
                self._grant()  # those behind it may fit
            raise

    def told(self, limit: int, remaining: int, reset_ms: int, *, public: bool = False) -> None:
        """Take over the exchange's count from an answer: `remaining` of `limit` until its window
        ends in `reset_ms`. Somebody else may use the same budget, or a weight may be higher than we
        thought. What a `public` answer counts is this address, not the account: it says nothing of
        orders, so others cannot use up the reserve."""
        now = self._monotonic()
        self._give_back(now)
        if limit >= LEAST_LIMIT:
            self.limit = min(self._own_limit, limit)
        others = self.limit - self._used - max(remaining, 0)
        if public:
            others = min(others, self._share(Priority.MARKET) - self._used)
        if others > 0:
            self._count(others, now + min(max(reset_ms / 1000.0, 0.0), self.window_s))

    def block(self, seconds: float) -> None:
        """Hold everything back for so long after a 429; of urgent requests one every `TRY_S` goes
        out as a try."""
        length = min(max(seconds, 0.0), LONGEST_BLOCK_S) * (1.0 + JITTER * self._rng.random())
        now = self._monotonic()
        self._blocked_until = max(self._blocked_until, now + length)
        self._next_try = now + TRY_S

    def unblock(self) -> None:
        """Let everybody go again: the exchange answers."""
        self._blocked_until = 0.0
        self._grant()

    def wait_s(self, weight: int, priority: Priority) -> float:
        """Return in how many seconds a request could go out if nobody was before it. One that is
        larger than the whole budget goes out when all of it is free."""
        now = self._monotonic()
        self._give_back(now)
        at, room = now, self._share(priority) - self._used
        for slot in sorted(self._taken):
            if room >= weight:
                break
            at, room = slot * SLOT_S, room + self._taken[slot]
        held_until = self._blocked_until
        if priority <= Priority.ACCOUNT:
            held_until = min(held_until, self._next_try)
        return max(at, held_until) - now

    def _share(self, priority: Priority) -> int:
        if priority is Priority.REDUCE:
            return self.limit
        return self.limit - ceil(RESERVE * self.limit)

    def _grant(self) -> None:
        self._let_go()
        while self._give_up():
            self._let_go()  # those behind may fit
        self._set_timer()

    def _let_go(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if self.wait_s(first.weight, first.priority) > 0.0:
                break
            heappop(self._waiting)
            if not first.granted.done():  # else its task was cancelled, and is about to notice
                now = self._monotonic()
                self._count(first.weight, now + self.window_s)
                self._next_try = now + TRY_S
                first.granted.set_result(now < self._blocked_until)

    def _give_up(self) -> bool:
        """Refuse those whose time is over; return whether there was one."""
        now = self._monotonic()
        late = [waiter for waiter in self._waiting if waiter.until <= now]
        for waiter in late:
            self._waiting.remove(waiter)
            if not waiter.granted.done():
                waiter.granted.set_exception(UnreachableError("the request budget is used up"))
        heapify(self._waiting)
        return bool(late)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            first = self._waiting[0]
            now = self._monotonic()
            wait_s = self.wait_s(first.weight, first.priority)
            wait_s = min(wait_s, *(waiter.until - now for waiter in self._waiting))
            self._timer = asyncio.get_running_loop().call_later(
                max(wait_s, SHORTEST_TIMER_S), self._grant
            )

    def _count(self, weight: int, until: float) -> None:
        slot = ceil(until / SLOT_S)
        self._taken[slot] = self._taken.get(slot, 0) + weight
        self._used += weight

    def _give_back(self, now: float) -> None:
        for slot in [slot for slot in self._taken if slot * SLOT_S <= now]:
            self._used -= self._taken.pop(slot)
