"""What goes wrong between a bot and its exchange, on purpose and repeatable.

`FaultyVenue` stands between an engine and a simulated market. A `Fault` names a moment in an
order's life (the n-th order of a role is sent, answered, filled, cancelled; a read) and what goes
wrong there. Everything else passes through, and what the market did stays done: the faults are on
the line, or in what others do to the account, never in the market's own books.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from bot.core.errors import NoAnswerError, UnreachableError
from bot.core.messages import (
    CancelOrder,
    Cycle,
    Event,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.core.reconcile import Snapshot


class Moment(Enum):
    """Where in an order's life something goes wrong."""

    SEND = "send"
    ANSWER = "answer"
    FILL = "fill"
    CANCEL = "cancel"
    GONE = "gone"
    """the exchange says that the order is cancelled"""


class Kind(Enum):
    """What goes wrong."""

    DROP = "drop"
    """it never arrives"""
    LATE = "late"
    """it arrives, and the answer does not: a timeout after acceptance"""
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    """it changes places with what comes next"""
    REJECT = "reject"
    DISCONNECT = "disconnect"
    """from now on nothing passes, for `seconds`"""
    UNKNOWN = "unknown"
    """as LATE, and the next reads do not know the order either"""
    OLD_CLOCK = "old_clock"
    """it carries a time from before"""
    OLD_READ = "old_read"
    """reads show the account as it was, for `seconds`"""
    CLOSED_OUTSIDE = "closed_outside"
    """a person closes the position in the exchange's app"""
    REDUCED_OUTSIDE = "reduced_outside"
    LIQUIDATED = "liquidated"
    FOREIGN_ORDER = "foreign_order"
    """somebody else rests an order on this account"""


@dataclass(frozen=True, slots=True)
class Fault:
    """The `nth` time (from 1) that an order of `role` comes to `moment`, `kind` happens."""

    kind: Kind
    role: Role
    moment: Moment
    nth: int = 1
    seconds: float = 20.0
    """how long it lasts, or how late something comes"""


HIDDEN_READS = 2
OLD_MS = 90_000  # how far an old clock is behind


class Market(Protocol):
    """What the faults are put around: a simulated venue."""

    def submit(self, order: PlaceOrder, now: int) -> Event | None: ...
    def cancel(self, wish: CancelOrder, now: int) -> Event | None: ...
    def poll(self, until_ms: int) -> Event | None: ...
    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot: ...


class Outsider(Protocol):
    """What others can do to an account; each simulated exchange has its own way."""

    def close(self, symbol: int, share: float, now: int) -> None:
        """Close a share of a position by hand."""

    def liquidate(self, symbol: int, now: int) -> None:
        """Take a position over."""

    def rest(self, symbol: int, now: int) -> None:
        """Rest an order with a foreign id far from the market."""


MOMENTS: dict[type, Moment] = {
    OrderAccepted: Moment.ANSWER,
    OrderRejected: Moment.ANSWER,
    OrderFilled: Moment.FILL,
    OrderCancelled: Moment.GONE,
}


def role_of(client_id: str) -> Role | None:
    """Return the role that an id of ours names, None for a foreign one."""
    name = client_id.rpartition("-")[2]
    return Role(name) if name in {role.value for role in Role} else None


class FaultyVenue:
    """A venue (bot/shell/venue.py) with a plan of faults. `fired` says which have happened."""

    def __init__(self, market: Market, outsider: Outsider, plan: Sequence[Fault]) -> None:
        self.market = market
        self.outsider = outsider
        self.waiting = list(plan)
        self.fired: list[Fault] = []
        self.counts: Counter[tuple[Role, Moment]] = Counter()
        self.down_until = 0
        """ms; nothing passes before"""
        self.late: list[tuple[int, Event]] = []
        """events that are held back, and until when"""
        self.swapped: Event | None = None
        self.hidden: dict[str, int] = {}
        """ids that the next so many reads do not know"""
        self.read: Snapshot | None = None
        """the newest read"""
        self.old: Snapshot | None = None
        self.old_until = 0

    def due(self, role: Role | None, moment: Moment) -> Fault | None:
        """Count this moment; return the fault that belongs to it."""
        if role is None:
            return None
        self.counts[role, moment] += 1
        for fault in self.waiting:
            here = (fault.role, fault.moment) == (role, moment)
            if here and self.counts[role, moment] >= fault.nth:
                self.waiting.remove(fault)
                self.fired.append(fault)
                return fault
        return None

    def cut(self, fault: Fault, now: int) -> None:
        """Let nothing pass for as long as the fault says."""
        self.down_until = now + int(fault.seconds * 1000)

    def check_line(self, now: int) -> None:
        """Raise UnreachableError while the line is down."""
        if now < self.down_until:
            raise UnreachableError("no connection to the exchange")

    def submit(self, order: PlaceOrder, now: int) -> Event | None:
        self.check_line(now)
        fault = self.due(order.role, Moment.SEND)
        if fault is None:
            return self.told(self.market.submit(order, now), now)
        match fault.kind:
            case Kind.REJECT:
                return OrderRejected(now, order.client_id, "system is busy (injected)")
            case Kind.DISCONNECT:
                self.cut(fault, now)
                self.check_line(now)
            case Kind.LATE | Kind.UNKNOWN:
                self.market.submit(order, now)
                if fault.kind is Kind.UNKNOWN:
                    self.hidden[order.client_id] = HIDDEN_READS
        raise NoAnswerError("no answer to an order")

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        self.check_line(now)
        fault = self.due(role_of(wish.client_id), Moment.CANCEL)
        if fault is None:
            return self.told(self.market.cancel(wish, now), now)
        if fault.kind is Kind.DISCONNECT:
            self.cut(fault, now)
            self.check_line(now)
        if fault.kind is Kind.LATE:
            self.market.cancel(wish, now)
        raise NoAnswerError("no answer to a cancellation")

    def poll(self, until_ms: int) -> Event | None:
        """Let the market go on, and hand out what the line lets through."""
        while True:
            if self.late and self.late[0][0] <= until_ms and until_ms >= self.down_until:
                return self.late.pop(0)[1]
            event = self.market.poll(until_ms)
            if event is None:
                event, self.swapped = self.swapped, None
                if event is None:
                    self.check_line(until_ms)
                return event
            told = self.told(event, event.now_ms)
            if told is None:
                continue
            if self.swapped is not None and not isinstance(told, Cycle):
                self.hold(self.swapped, 0.0)
                self.swapped = None
            return told

    def told(self, event: Event | None, now: int) -> Event | None:
        """Return an answer or event as it gets through, None when it does not (now)."""
        if event is None:
            return None
        if now < self.down_until and not isinstance(event, Cycle):
            return None  # the market goes on, nobody hears of it
        moment = MOMENTS.get(type(event))
        client_id = str(getattr(event, "client_id", ""))
        fault = self.due(role_of(client_id), moment) if moment is not None else None
        return event if fault is None else self.bend(fault, event, now)

    def bend(self, fault: Fault, event: Event, now: int) -> Event | None:
        """Do to an event what the plan says; return what is heard at once."""
        match fault.kind:
            case Kind.DROP:
                return None
            case Kind.DELAY:
                self.hold(event, fault.seconds)
                return None
            case Kind.DUPLICATE:
                self.hold(event, fault.seconds)
            case Kind.REORDER:
                self.swapped = event
                return None
            case Kind.DISCONNECT:
                self.cut(fault, now)
                return None
            case Kind.OLD_CLOCK:
                return replace(event, now_ms=event.now_ms - OLD_MS)
            case Kind.OLD_READ:
                self.old, self.old_until = self.read, now + int(fault.seconds * 1000)
            case _:
                self.meddle(fault.kind, int(getattr(event, "symbol", -1)), now)
        return event

    def meddle(self, kind: Kind, symbol: int, now: int) -> None:
        """Let others do something to the account."""
        if kind is Kind.CLOSED_OUTSIDE:
            self.outsider.close(symbol, 1.0, now)
        elif kind is Kind.REDUCED_OUTSIDE:
            self.outsider.close(symbol, 0.5, now)
        elif kind is Kind.LIQUIDATED:
            self.outsider.liquidate(symbol, now)
        elif kind is Kind.FOREIGN_ORDER:
            self.outsider.rest(symbol, now)

    def hold(self, event: Event, seconds: float) -> None:
        """Hand an event out later; what is late for the same time keeps its order."""
        self.late.append((event.now_ms + int(seconds * 1000), event))
        self.late.sort(key=lambda pair: pair[0])

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        self.check_line(now)
        if self.old is not None and now < self.old_until:
            reports = {name: self.old.reports[name] for name in asked if name in self.old.reports}
            known = tuple(name for name in asked if name in reports)
            return replace(self.old, asked=known, reports=reports)
        seen = self.market.snapshot(asked, since_ms, now)
        unseen = [name for name, reads in self.hidden.items() if reads > 0]
        for name in unseen:
            self.hidden[name] -= 1
        self.read = replace(
            seen,
            open_orders=tuple(o for o in seen.open_orders if o.client_id not in unseen),
            reports={name: o for name, o in seen.reports.items() if name not in unseen},
        )
        return self.read

    def check_equity(self, ours: float) -> None:
        """Nothing: while faults are at work the two may differ until the next read."""
