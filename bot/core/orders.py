"""The life of an order, written as a table: (status, what happened) -> status.

Anything that is not in the table is a broken promise and raises. The table knows nothing of
positions; what a fill means for a position is booked in `bot/core/fills.py`.
"""

import re
from dataclasses import dataclass, field
from enum import Enum

from bot.core.errors import InvariantError
from bot.core.messages import PlaceOrder, Role


class Status(Enum):
    """Where an order stands, as far as we know."""

    __hash__ = object.__hash__  # members are single objects; Enum's own is slow Python code

    SENT = "sent"
    UNRESOLVED = "unresolved"
    OPEN = "open"
    PARTIAL = "partial"
    CANCELLING = "cancelling"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class Trigger(Enum):
    """What can happen to an order."""

    __hash__ = object.__hash__

    ACCEPT = "accept"
    FILL_PART = "fill_part"
    FILL_ALL = "fill_all"
    ASK_CANCEL = "ask_cancel"
    CANCEL = "cancel"
    REJECT = "reject"
    LOSE = "lose"
    """no answer came, or a read does not know the order"""
    VOID = "void"
    """the exchange never had it: enough reads have said so"""


# Tuples, since an Enum member takes long to hash, and these are asked for in every step.
TERMINAL = (Status.FILLED, Status.CANCELLED, Status.REJECTED)
RESTING = (Status.OPEN, Status.PARTIAL)
"""acknowledged by the exchange and not asked to go: only these protect a position"""

ORDER_TABLE: dict[tuple[Status, Trigger], Status] = {
    (Status.SENT, Trigger.ACCEPT): Status.OPEN,
    (Status.SENT, Trigger.REJECT): Status.REJECTED,
    # A fill or a cancellation may overtake the acceptance on its own channel.
    (Status.SENT, Trigger.FILL_PART): Status.PARTIAL,
    (Status.SENT, Trigger.FILL_ALL): Status.FILLED,
    (Status.SENT, Trigger.CANCEL): Status.CANCELLED,
    (Status.SENT, Trigger.ASK_CANCEL): Status.CANCELLING,
    (Status.SENT, Trigger.LOSE): Status.UNRESOLVED,
    # Nothing is certain of an unresolved order, so everything may still follow.
    (Status.UNRESOLVED, Trigger.ACCEPT): Status.OPEN,
    (Status.UNRESOLVED, Trigger.REJECT): Status.REJECTED,
    (Status.UNRESOLVED, Trigger.FILL_PART): Status.PARTIAL,
    (Status.UNRESOLVED, Trigger.FILL_ALL): Status.FILLED,
    (Status.UNRESOLVED, Trigger.CANCEL): Status.CANCELLED,
    (Status.UNRESOLVED, Trigger.ASK_CANCEL): Status.CANCELLING,
    (Status.UNRESOLVED, Trigger.LOSE): Status.UNRESOLVED,
    (Status.UNRESOLVED, Trigger.VOID): Status.REJECTED,
    # Acceptances are told twice: by the answer and by a read or a socket.
    (Status.OPEN, Trigger.ACCEPT): Status.OPEN,
    (Status.OPEN, Trigger.LOSE): Status.UNRESOLVED,
    (Status.OPEN, Trigger.FILL_PART): Status.PARTIAL,
    (Status.OPEN, Trigger.FILL_ALL): Status.FILLED,
    (Status.OPEN, Trigger.ASK_CANCEL): Status.CANCELLING,
    (Status.OPEN, Trigger.CANCEL): Status.CANCELLED,
    # A stop is looked at again when it is triggered.
    (Status.OPEN, Trigger.REJECT): Status.REJECTED,
    # The late acceptance of an order whose first fill came earlier.
    (Status.PARTIAL, Trigger.ACCEPT): Status.PARTIAL,
    (Status.PARTIAL, Trigger.LOSE): Status.UNRESOLVED,
    (Status.PARTIAL, Trigger.FILL_PART): Status.PARTIAL,
    (Status.PARTIAL, Trigger.FILL_ALL): Status.FILLED,
    (Status.PARTIAL, Trigger.ASK_CANCEL): Status.CANCELLING,
    (Status.PARTIAL, Trigger.CANCEL): Status.CANCELLED,
    # Until the exchange says "cancelled", the order can still trade or even only now be accepted.
    (Status.CANCELLING, Trigger.ACCEPT): Status.CANCELLING,
    (Status.CANCELLING, Trigger.FILL_PART): Status.CANCELLING,
    (Status.CANCELLING, Trigger.FILL_ALL): Status.FILLED,
    (Status.CANCELLING, Trigger.CANCEL): Status.CANCELLED,
    (Status.CANCELLING, Trigger.REJECT): Status.REJECTED,
    (Status.CANCELLING, Trigger.LOSE): Status.CANCELLING,
    (Status.CANCELLING, Trigger.VOID): Status.CANCELLED,
    (Status.FILLED, Trigger.ACCEPT): Status.FILLED,
    (Status.CANCELLED, Trigger.ACCEPT): Status.CANCELLED,
}


@dataclass(slots=True)
class Order:
    """One order of ours and what has become of it."""

    request: PlaceOrder
    reason: int
    """for exits: why the position is left (kernel codes)"""
    sent_ms: int
    status: Status = Status.SENT
    filled: float = 0.0
    missing: int = 0
    """reads in a row that did not know the order"""
    missing_since: int = 0
    missing_position: float = 0.0
    """contracts of the position, signed, at the first of them"""
    told: float = 0.0
    """contracts that have traded by the exchange's word on the order (OrderAhead); more than
    `filled` while the list of fills is behind"""
    told_since: int = 0
    """ms; the first read in a row that said so"""
    told_over: bool = False
    """and that it trades no more"""
    told_stop: float = 0.0
    """of an entry: the level of their stop while our books are flat, USDT"""
    symbol: int = field(init=False)
    role: Role = field(init=False)
    """of the request: looked at for every order, all the time"""

    def __post_init__(self) -> None:
        self.symbol = self.request.symbol
        self.role = self.request.role

    @property
    def live(self) -> bool:
        """May still trade."""
        return self.status not in TERMINAL

    @property
    def rests(self) -> bool:
        """Acknowledged by the exchange, and staying."""
        return self.status in RESTING

    @property
    def remaining(self) -> float:
        return self.request.contracts - self.filled

    @property
    def waiting(self) -> float:
        """Contracts that may trade yet, by all that is known; a fill may be late on its list."""
        return 0.0 if self.told_over else self.request.contracts - max(self.filled, self.told)

    def apply(self, trigger: Trigger) -> None:
        """Move to the next status; raise InvariantError where the table has no row."""
        key = (self.status, trigger)
        if key not in ORDER_TABLE:
            raise InvariantError(
                f"order {self.request.client_id}: {trigger.value} cannot follow {self.status.value}"
            )
        self.status = ORDER_TABLE[key]


def client_id(installation: str, sequence: int, role: Role) -> str:
    """Return the id of an order: a pure function of installation, sequence and role.

    At most 40 characters of [A-Za-z0-9-], KuCoin's limit for clientOid.

    >>> client_id("a1b2c3", 41, Role.STOP)
    'a1b2c3-41-stop'
    """
    return f"{installation}-{sequence}-{role.value}"


def is_ours(installation: str, client_id: str) -> bool:
    """Return whether an order of this installation has that id, an emergency order included."""
    return client_id.startswith(f"{installation}-")


BOT_ID = re.compile(rf"[a-z0-9]+-e?[0-9]+-({'|'.join(role.value for role in Role)})")


def is_a_bots(client_id: str) -> bool:
    """Return whether an id is one that a bot like this one gives, of whatever installation.

    >>> is_a_bots("a1b2c3-41-stop"), is_a_bots("a1b2c3-e173569000000001-exit"), is_a_bots("web-1")
    (True, True, False)
    """
    return BOT_ID.fullmatch(client_id) is not None
