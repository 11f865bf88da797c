"""Events that come from reading the exchange, or from getting no answer (see messages.py for the
rules of all events). They repair what the core believes; `reconcile` makes them.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """An order was sent and no answer came: it may rest, it may have traded, it may be lost."""

    now_ms: int
    client_id: str


@dataclass(frozen=True, slots=True)
class OrderResting:
    """A read of the exchange shows the order open."""

    now_ms: int
    client_id: str


@dataclass(frozen=True, slots=True)
class OrderMissing:
    """A read of the exchange that succeeded does not know the order."""

    now_ms: int
    client_id: str


@dataclass(frozen=True, slots=True)
class StrayOrder:
    """A read shows an open order with an id of ours that we do not wait for any more."""

    now_ms: int
    client_id: str
    symbol: int


@dataclass(frozen=True, slots=True)
class ForeignOrder:
    """A read shows an open order that is not ours. It is never touched."""

    now_ms: int
    client_id: str
    symbol: int


@dataclass(frozen=True, slots=True)
class ForeignPosition:
    """A read shows a position in a contract that is not configured. It is never touched."""

    now_ms: int
    name: str


@dataclass(frozen=True, slots=True)
class OrderAhead:
    """A read shows more of an order of ours than its list of fills.

    `contracts` is what the order has traded in all; `held` is what the position has, signed; `mark`
    is in USDT.
    """

    now_ms: int
    client_id: str
    contracts: float
    resting: bool
    """it may trade on"""
    held: float
    mark: float


@dataclass(frozen=True, slots=True)
class PositionSeen:
    """A read shows a position that differs from our books after everything known was booked.

    `side` 0 is flat; `price` is the mark, USDT.
    """

    now_ms: int
    symbol: int
    side: int
    contracts: float
    price: float
    awaited: bool = False
    """an order of ours has traded more than the list of fills shows: it may explain the position"""


@dataclass(frozen=True, slots=True)
class PositionAgrees:
    """A read shows what our books say of a symbol that was in doubt."""

    now_ms: int
    symbol: int


@dataclass(frozen=True, slots=True)
class WalletSeen:
    """A read shows a wallet (equity without unrealised profit, USDT) that our books do not
    explain."""

    now_ms: int
    wallet: float
    awaited: bool = False
    """an order of ours has traded more than the list of fills shows: it may explain the wallet"""


@dataclass(frozen=True, slots=True)
class LossSeen:
    """A read shows what is held at the exchange's marks, between two cycles: a limit is exceeded,
    or one was when the account was read last.

    `equity` is our wallet and what the positions would bring at these marks, USDT.
    """

    now_ms: int
    equity: float


class Takeover(Enum):
    """Why the exchange took contracts of a position; the value is what people read."""

    LIQUIDATION = "liquidated"
    ADL = "auto-deleveraged"
    """closed against a bankrupt position of somebody else, from the most profitable ones on"""
    SETTLEMENT = "settled"
    """the contract has ended"""


@dataclass(frozen=True, slots=True)
class Transferred:
    """A person moved money: a deposit when positive, a withdrawal when negative, USDT."""

    now_ms: int
    entry_id: str
    amount: float


Observation = (
    OutcomeUnknown
    | OrderResting
    | OrderMissing
    | StrayOrder
    | ForeignOrder
    | ForeignPosition
    | LossSeen
    | OrderAhead
    | PositionSeen
    | PositionAgrees
    | WalletSeen
    | Transferred
)
