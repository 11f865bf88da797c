"""The faults of the wire and of the exchange at every phase of an order's life, as a matrix.

A fault is what the simulator is told (`wire`), or what a person or the exchange does (`deeds`), and
what must follow from it beyond the guarantees that hold for every cell (wire_fault_drill.py). It
comes the moment before the order of its phase goes out; where there is no position yet, as soon as
there is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

from bot.core.modes import Cause

type Plain = dict[str, Any]
type Deed = tuple[str, Plain]
"""a path of the control endpoint and what it is told; a symbol is filled in"""


class Phase(Enum):
    """What the bot is doing."""

    ENTRY = "entry"
    STOP = "stop replacement"
    EXIT = "exit"
    KILL = "kill switch"


class Aim(Enum):
    """Which requests or frames a fault of the wire meets."""

    ORDER = "order"
    """the POST of the phase's order"""
    READ = "read"
    """the reads that follow it, until one has failed for good"""
    STOP = "stop"
    """the POST of the first stop"""
    CANCEL = "cancel"
    """the DELETE of the orders that it makes superfluous"""
    ALL = ""
    """whatever there is"""


ROLES = {Phase.ENTRY: "entry", Phase.STOP: "stop", Phase.EXIT: "exit", Phase.KILL: "exit"}
"""of the order that a phase begins with"""
FIRST = (Phase.ENTRY,)
WITH_CANCEL = (Phase.STOP, Phase.EXIT, Phase.KILL)
WITH_FRAMES = (Phase.ENTRY, Phase.EXIT, Phase.KILL)
"""no frame that the bot listens to tells of a stop that is placed or cancelled"""
TRIES = 6
"""that often a read is sent before it has failed: three tries, and aiohttp repeats a dropped GET"""
BANNED = "<html>Error 1015</html>"
"""of what stands before the exchange: no envelope, and the pause after it is the longest"""
FAILURES = (503, 500, 502, 504)
FIELDS = {
    "/api/v1/orders": ("id", "symbol", "filledSize", "isActive"),
    "/api/v1/stopOrders": ("id", "symbol", "filledSize", "isActive"),
    "/api/v1/recentFills": ("tradeId", "orderId", "size", "price", "fee", "side", "tradeType"),
    "/api/v1/positions": ("symbol", "currentQty", "markPrice", "positionSide", "isOpen"),
    "/api/v1/account-overview": ("accountEquity", "unrealisedPNL", "currency"),
}
"""what a read needs, by path"""
FILLS = "/api/v1/recentFills"
LASTING = (FILLS, "/api/v1/account-overview")
"""reads that show something also when nothing is held any more"""


@dataclass(frozen=True)
class Fault:
    """One row of the matrix."""

    name: str
    wire: tuple[Plain, ...] = ()
    aim: Aim = Aim.ALL
    deeds: tuple[Deed, ...] = ()
    undo: tuple[Deed, ...] = ()
    lasts_s: float = 0.0
    """market seconds until it is taken back; 0: it ends by itself, or with its cell"""
    stride_s: float = 0.0
    """market time passes in such steps while it lasts; 0: as usual"""
    slow: bool = False
    """its cells take long: they are left out of the spread"""
    blind: bool = False
    """nobody can do anything while it lasts"""
    sockets: bool = False
    """the bot has its WebSocket"""
    phases: tuple[Phase, ...] = tuple(Phase)
    errors: tuple[str, ...] = ()
    """kinds of errors of which at least one is counted"""
    causes: tuple[Cause, ...] = ()
    """held the bot back meanwhile"""
    leaves: tuple[Cause, ...] = ()
    """may hold the bot back afterwards, until a person or time has cleared it"""
    notices: tuple[str, ...] = ()
    """people are told, one of these kinds"""
    locks: bool = False
    """the symbol takes no new risk afterwards"""
    turns: bool = False
    """somebody else holds a position of their own until it is taken back"""


@dataclass(frozen=True)
class Cell:
    """A fault at a phase."""

    fault: Fault
    phase: Phase

    def __str__(self) -> str:
        return f"{self.fault.name}, {self.phase.value}"

    def specs(self, rng: Random) -> list[Plain]:
        """Return what the simulator is told."""
        return [spec | self._target(spec, rng) | _failure(spec, rng) for spec in self.fault.wire]

    def _target(self, spec: Plain, rng: Random) -> Plain:
        match self.fault.aim:
            case Aim.ORDER:
                return {"method": "POST", "role": ROLES[self.phase]}
            case Aim.STOP:
                return {"method": "POST", "role": "stop"}
            case Aim.CANCEL:
                return {"role": "cancel"}
            case Aim.READ:
                leaves = "fields" in spec and self.phase in (Phase.EXIT, Phase.KILL)
                path = rng.choice(LASTING if leaves else sorted(FIELDS))
                fields = FIELDS[path]
                if path == FILLS and self.phase is not Phase.ENTRY:
                    fields = ("tradeId",)  # of a fill that is known nothing else is looked at
                named = {"fields": [rng.choice(fields)]} if "fields" in spec else {}
                return {"method": "GET", "path": path, "times": TRIES, **named}
        return {}


def _failure(spec: Plain, rng: Random) -> Plain:
    """Return which of its failures the server has, where one stands for all of them."""
    return {"status": rng.choice(FAILURES)} if spec.get("status") == FAILURES[0] else {}


def _of_requests() -> Iterator[Fault]:
    """Yield what can happen to a request, for each sort of request."""
    late_s = 0.8  # later than the bot waits in these drills
    kinds: list[tuple[str, Plain, str, str]] = [
        # name, what the simulator is told, error of an order, error of a read or cancellation
        ("429", {"kind": "status", "status": 429}, "rate_limited", "rate_limited"),
        (
            "banned",
            {"kind": "status", "status": 429, "body": BANNED},
            "rate_limited",
            "rate_limited",
        ),
        ("5xx", {"kind": "status", "status": 503}, "timeout", "unreachable"),
        ("HTML with 200", {"kind": "html"}, "malformed", "malformed"),
        ("dropped before", {"kind": "drop_before"}, "timeout", "unreachable"),
        ("dropped after", {"kind": "drop_after"}, "timeout", "unreachable"),
        ("slow before", {"kind": "slow_before", "seconds": late_s}, "timeout", "unreachable"),
        ("slow after", {"kind": "slow_after", "seconds": late_s}, "timeout", "unreachable"),
        ("null data", {"kind": "null"}, "malformed", "malformed"),
    ]
    down = Cause.EXCHANGE_UNREACHABLE
    for name, spec, of_order, of_others in kinds:
        twice = {"times": 2} if "dropped" in name else {}
        yield Fault(f"{name}: order", (spec,), Aim.ORDER, errors=(of_order,))
        yield Fault(f"{name}: first stop", (spec,), Aim.STOP, errors=(of_order,), phases=FIRST)
        yield Fault(f"{name}: read", (spec,), Aim.READ, errors=(of_others,), causes=(down,))
        # A closed position's orders are gone already; and aiohttp repeats a dropped DELETE.
        seen = () if twice or name == "null data" else (of_others,)
        yield Fault(f"{name}: cancel", (spec | twice,), Aim.CANCEL, errors=seen, phases=WITH_CANCEL)
    # For longer than a position may be uncovered: it is closed.
    stop: Plain = {"method": "POST", "role": "stop", "times": 0}
    for name, spec in (
        ("stops refused", {"kind": "error", "code": "300012", "msg": "price"}),
        ("stops lost", {"kind": "drop_before"}),
    ):
        yield Fault(
            name,
            (spec | stop,),
            lasts_s=40.0,
            phases=FIRST,
            leaves=(Cause.EXCHANGE_ERRORS,),
            notices=("uncovered",),
        )
    nulls: Plain = {"kind": "null_fields"}
    yield Fault(
        "null fields: order", (nulls | {"fields": ["orderId"]},), Aim.ORDER, errors=("malformed",)
    )
    yield Fault(
        "null fields: read",
        (nulls | {"fields": []},),
        Aim.READ,
        errors=("malformed",),
        causes=(down,),
    )


def _of_sockets() -> Iterator[Fault]:
    """Yield what can happen to a socket, which harms nothing: there is no error, and no cause."""
    for name, spec in (
        ("frames lost", {"kind": "ws_drop"}),
        ("frames twice", {"kind": "ws_duplicate"}),
        ("frames reordered", {"kind": "ws_reorder", "seconds": 0.2}),
        ("frames late", {"kind": "ws_delay", "seconds": 0.4}),
        ("sequence gap", {"kind": "ws_gap"}),
    ):
        yield Fault(name, (spec | {"times": 0},), sockets=True, phases=WITH_FRAMES)
    for name, *specs in (
        ("token expired", {"kind": "ws_expired_token"}, {"kind": "ws_close"}),
        ("error frame", {"kind": "ws_error_frame"}),
        ("socket silent", {"kind": "ws_silent"}),
    ):
        yield Fault(name, tuple(specs), sockets=True)


def _of_the_exchange() -> Iterator[Fault]:
    """Yield what concerns everything at once."""
    down = (Cause.EXCHANGE_UNREACHABLE,)
    for name, ms in (("clock ahead", 8_000), ("clock behind", -8_000)):
        yield Fault(name, ({"kind": "skew", "ms": ms},), lasts_s=15.0, errors=("clock",))
    banned: Plain = {"kind": "status", "status": 429, "body": BANNED, "times": 0}
    yield Fault(
        "banned", (banned,), lasts_s=25.0, blind=True, errors=("rate_limited",), causes=down
    )
    refused: Plain = {"kind": "error", "code": "400006", "msg": "ip", "status": 401, "times": 0}
    yield Fault("key refused", (refused,), lasts_s=8.0, blind=True, errors=("other",), causes=down)
    yield Fault("maintenance", ({"kind": "maintenance"},), lasts_s=40.0, blind=True, causes=down)
    late: Plain = {"kind": "late_klines", "ms": 20_000}
    yield Fault("candles late", (late,), lasts_s=130.0)
    for seconds in (20, 50):
        unlisted: Plain = {"kind": "late_fills", "ms": 1_000 * seconds}
        yield Fault(f"fills late, {seconds} s", (unlisted,), lasts_s=2.0 * seconds)
    outage: Plain = {"kind": "outage"}
    yield Fault("outage, minutes", (outage,), lasts_s=180.0, stride_s=5.0, blind=True, causes=down)
    yield Fault(
        "outage, hours", (outage,), lasts_s=10_800.0, stride_s=600.0, blind=True, causes=down
    )
    yield Fault(
        "outage, a day",
        (outage,),
        lasts_s=108_000.0,
        stride_s=3_600.0,
        slow=True,
        blind=True,
        causes=down,
    )
    refused = (Cause.EXCHANGE_ERRORS,)
    pause, resume = ("market", {"do": "pause"}), ("market", {"do": "resume"})
    yield Fault(
        "contract paused", deeds=(pause,), undo=(resume,), lasts_s=20.0, blind=True, leaves=refused
    )
    yield Fault(
        "contract delisted",
        deeds=(("market", {"do": "delist"}),),
        notices=("external_position_change",),
    )
    yield Fault("tick size changed", deeds=(("market", {"do": "tick_size"}),), leaves=refused)
    yield Fault("liquidated", deeds=(("outside", {"do": "liquidate"}),), notices=("liquidated",))
    for name, share in (("deleveraged", 1.0), ("half deleveraged", 0.5)):
        yield Fault(
            name,
            deeds=(("outside", {"do": "adl", "share": share}),),
            notices=("external_position_change",),
            locks=True,
        )


def _of_people() -> Iterator[Fault]:
    """Yield what somebody does on the same account."""
    foreign = (Cause.FOREIGN_ORDER,)
    yield Fault(
        "foreign order",
        deeds=(("outside", {"do": "rest"}),),
        causes=foreign,
        leaves=foreign,
        notices=("foreign_order",),
    )
    for name, share in (("closed by hand", 1.0), ("half closed by hand", 0.5)):
        yield Fault(
            name,
            deeds=(("outside", {"do": "close", "share": share}),),
            leaves=foreign,  # in a thin market their order is seen while it waits
            notices=("external_position_change",),
            locks=True,
        )
    yield Fault(
        "flipped by hand",
        deeds=(("outside", {"do": "close", "share": 1.5}),),
        undo=(("outside", {"do": "close"}),),
        lasts_s=40.0,
        causes=foreign,
        leaves=foreign,
        notices=("external_position_change",),
        locks=True,
        turns=True,
    )
    yield Fault("stop cancelled by hand", deeds=(("outside", {"do": "cancel"}),))
    for name, amount in (("deposit", 900.0), ("withdrawal", -900.0)):
        yield Fault(name, deeds=(("outside", {"do": "transfer", "amount": amount}),))


FAULTS: tuple[Fault, ...] = (
    *_of_requests(),
    *_of_sockets(),
    *_of_the_exchange(),
    *_of_people(),
)
CELLS: tuple[Cell, ...] = tuple(Cell(fault, phase) for fault in FAULTS for phase in fault.phases)
