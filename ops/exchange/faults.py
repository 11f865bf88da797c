"""The fault switches of the wire simulator: which stand, which are due, and the REST side's guard.

A fault that is due happens to one request or push; when several are due it is the oldest one's
turn, and the others have counted it. Whatever waits because of a fault ends with `clear`.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ops.exchange import fault_replies as replies
from ops.exchange.fault_specs import AT_A_PUSH, AT_ONCE, KINDS, REQUEST_KINDS, check

MOST_FAULTS = 1_000
type RoleOf = Callable[[dict[str, Any] | None], str | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What faults are matched against: a request, or a push by its topic."""

    path: str = ""
    method: str = ""
    roles: frozenset[str | None] = frozenset()


@dataclass(slots=True)
class Fault:
    """A fault and what became of it."""

    number: int
    spec: dict[str, Any]
    until: float = inf
    """monotonic seconds; only what stands may end by itself"""
    seen: int = 0
    fired: int = 0

    @property
    def kind(self) -> str:
        return str(self.spec["kind"])

    def left(self, now: float) -> int | None:
        """Return how often it can still fire, None for until cleared."""
        if now >= self.until:
            return 0
        times = int(self.spec["times"])
        return max(0, times - self.fired) if times else None

    def matches(self, seen: Seen) -> bool:
        spec = self.spec
        return (
            spec.get("method", seen.method) == seen.method
            and seen.path.startswith(spec.get("path") or spec.get("topic") or "")
            and ("role" not in spec or spec["role"] in seen.roles)
        )


class Faults:
    """All switches of one simulator. What is drawn follows from the seed and the fault's id."""

    def __init__(self, seed: int = 0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.seed, self.monotonic = seed, monotonic
        self.known: list[Fault] = []
        self.added = 0
        self.cleared = asyncio.Event()
        self.strikes: list[Callable[[Fault], None]] = []
        """told of the faults that happen at once"""

    def add(self, spec: dict[str, Any]) -> int:
        """Return the id of a new fault. Raises ValueError when `spec` is none, or one too many."""
        checked = check(spec)
        if len(self.known) >= MOST_FAULTS:
            raise ValueError(f"faults: expected at most {MOST_FAULTS}, clear them first")
        self.added += 1
        fault = Fault(self.added, checked)
        if KINDS[fault.kind].stands and checked.get("seconds"):
            fault.until = self.monotonic() + checked["seconds"]
        self.known.append(fault)
        if fault.kind in AT_ONCE and not any(field in spec for field in AT_A_PUSH):
            fault.fired = 1
            for strike in self.strikes:
                strike(fault)
        return fault.number

    def clear(self) -> None:
        """Remove every fault, and end every wait that one of them caused."""
        self.known.clear()
        self.cleared.set()
        self.cleared = asyncio.Event()

    def describe(self) -> list[dict[str, Any]]:
        """Return every fault since the last `clear`: its spec, `id`, `fired` and `left`."""
        now = self.monotonic()
        return [
            {"id": fault.number, **fault.spec, "fired": fault.fired, "left": fault.left(now)}
            for fault in self.known
        ]

    @property
    def skew_ms(self) -> int:
        """What the exchange's clock is ahead of market time, ms."""
        return sum(fault.spec["ms"] for fault in self.live("skew"))

    def late_ms(self, kind: str) -> int:
        """Return how long after its time something is not told yet, ms."""
        if not self.stands(kind):
            return 0
        return sum(fault.spec["ms"] for fault in self.live(kind))

    def live(self, *kinds: str) -> list[Fault]:
        """Return the faults of some kinds that are not used up."""
        if not self.known:
            return []
        now = self.monotonic()
        return [fault for fault in self.known if fault.kind in kinds and fault.left(now) != 0]

    def stands(self, kind: str) -> bool:
        """Return whether a standing kind is in force, and count that it mattered."""
        standing = self.live(kind)
        for fault in standing:
            fault.fired += 1
        return bool(standing)

    def take(self, kinds: Iterable[str], seen: Seen) -> Fault | None:
        """Count what was seen; return the oldest fault that is due for it."""
        due = None
        for fault in self.live(*kinds):
            if not fault.matches(seen):
                continue
            fault.seen += 1
            if due is None and fault.seen >= fault.spec["nth"]:
                due = fault
        if due is not None:
            due.fired += 1
        return due

    def random(self, fault: Fault) -> Random:
        """Return the randomness of one firing."""
        return Random(f"{self.seed}/{fault.number}/{fault.fired}")

    def middleware(self, role_of: RoleOf) -> Middleware:
        """Return the guard of a listener. `role_of` tells what an order of a body is for."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self.known:
                return await handler(request)
            if self.stands("outage"):
                return replies.cut(request)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await handler(request)
            self.stands("skew")
            if replies.is_maintained(request) and self.stands("maintenance"):
                return replies.maintained(request)
            fault = self.take(REQUEST_KINDS, await read(request, role_of))
            if fault is None:
                return await handler(request)
            return await self.play(fault, request, handler)

        return guard

    async def play(
        self, fault: Fault, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Answer a request as a fault says."""
        spec = fault.spec
        match fault.kind:
            case "status":
                return replies.plain(spec["status"], spec.get("body"))
            case "error":
                return replies.envelope(str(spec["code"]), spec["msg"], spec.get("status", 200))
            case "html":
                return replies.page("Just a moment...")
            case "drop_before":
                return replies.cut(request)
            case "slow_before":
                await wait_for(self.cleared, spec["seconds"])
                return await handler(request)
        reply = await processed(request, handler)
        match fault.kind:
            case "slow_after":
                await wait_for(self.cleared, spec["seconds"])
            case "drop_after":
                return replies.cut(request)
            case "null":
                return replies.altered(reply, lambda data: None)
            case "null_fields":
                named, rng = spec.get("fields", ()), self.random(fault)
                symbol = spec.get("symbol", "")
                return replies.altered(
                    reply, lambda data: replies.blanked_of(data, symbol, named, rng)
                )
        return reply


async def wait_for(cleared: asyncio.Event, seconds: float) -> None:
    """Wait for real seconds, or until the faults that stood before are cleared."""
    with suppress(TimeoutError):
        await asyncio.wait_for(cleared.wait(), seconds)


async def read(request: web.Request, role_of: RoleOf) -> Seen:
    """Return what faults are matched against: only POST places, DELETE always cancels."""
    if request.method == "DELETE":
        return Seen(request.path, request.method, frozenset({"cancel"}))
    if request.method != "POST":
        return Seen(request.path, request.method)
    try:
        body = json.loads(await request.read() or b"null")
    except (ValueError, RecursionError):
        body = None
    orders = body if isinstance(body, list) else [body]
    known = [order if isinstance(order, dict) else None for order in orders]
    roles = frozenset(role_of(order) for order in known)
    return Seen(request.path, request.method, roles)


async def processed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request be processed; errors that a handler raises are answers too."""
    try:
        return await handler(request)
    except web.HTTPException as answer:
        return web.Response(status=answer.status, text=answer.text, headers=answer.headers)
