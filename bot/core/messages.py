"""What the core is told (events) and what it asks for (effects). All immutable; illegal ones cannot
be built.

Rules of this file: every event carries `now_ms`, the exchange's time; an event that depends on when
*we* learnt something carries `local_ms` too, the time of receipt on our clock. Symbols are indices
in configuration order. Contracts are whole numbers held as floats (profile reference: fractions).
"""

import math
from dataclasses import dataclass
from enum import Enum

from bot.core.errors import InvariantError
from bot.core.kernel.params import Params, Tier
from bot.core.kernel.records import Trade
from bot.core.market import Bar
from bot.core.modes import Cause
from bot.core.observations import Observation, Takeover


class Role(Enum):
    """What an order is for. The role decides priority, reduce-only and how a fill is booked."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP = "stop"
    TARGET = "target"


class Command(Enum):
    """What an operator can ask for."""

    KILL = "kill"
    RESUME = "resume"
    CLOSE = "close"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Cycle:
    """The bars that ended at `now_ms` are in, or waiting for them is over: decide."""

    now_ms: int
    local_ms: int
    bars: tuple[Bar | None, ...]
    """by symbol; None where no bar came"""


@dataclass(frozen=True, slots=True)
class History:
    """Bars from before the run, for the indicators only: nothing is judged and nothing decided."""

    now_ms: int
    bars: tuple[Bar | None, ...]


@dataclass(frozen=True, slots=True)
class Rewarm:
    """So many bars were missed that the indicators begin anew, from the History that follows."""

    now_ms: int
    missed: int
    symbols: tuple[int, ...] = ()
    """of which; empty is of all"""


@dataclass(frozen=True, slots=True)
class Configured:
    """Another configuration takes over, whole; symbols, timeframe and strategies are the same."""

    now_ms: int
    config_hash: str
    params: Params
    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class OrderAccepted:
    """The exchange has the order; a stop rests, a limit rests, a market order is about to fill."""

    now_ms: int
    client_id: str


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """The order will never trade: refused by the exchange (`message` is its own text), or never
    sent at all (`local`), which is no error of the exchange."""

    now_ms: int
    client_id: str
    message: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class OrderFilled:
    """A part or all of an order traded. `fill_id` is the exchange's and makes a repeat
    recognisable."""

    now_ms: int
    client_id: str
    fill_id: str
    contracts: float
    price: float
    fee: float
    symbol: int = -1
    """with `side`, what the exchange says of a fill whose order we have forgotten"""
    side: int = 0
    certain: bool = False
    """no other record can come before it (reconcile.explained)"""
    late: bool = False  # our books have the position that it led to (reconcile.is_late)
    before: bool = False  # our position was not even asked for then (reconcile.told_now)

    @property
    def entry_id(self) -> str:
        """A fill is one of the account's records, as funding and liquidations are."""
        return self.fill_id

    def __post_init__(self) -> None:
        if not (self.contracts > 0.0 and self.price > 0.0 and math.isfinite(self.fee)):
            raise InvariantError(f"expected a fill above 0 at a price above 0, was {self}")


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """What is left of the order will not trade: cancelled, expired, or an IOC remainder."""

    now_ms: int
    client_id: str


@dataclass(frozen=True, slots=True)
class FundingSettled:
    """The exchange settled funding on a position; `amount` is received when positive, USDT."""

    now_ms: int
    symbol: int
    amount: float
    entry_id: str = ""
    """the exchange's, makes a repeat recognisable"""


@dataclass(frozen=True, slots=True)
class Liquidated:
    """The exchange took a part or all of a position over; there is no order of ours behind it."""

    now_ms: int
    symbol: int
    contracts: float
    price: float
    fee: float
    entry_id: str = ""
    way: Takeover = Takeover.LIQUIDATION
    before: bool = False  # as of OrderFilled


@dataclass(frozen=True, slots=True)
class Condition:
    """The shell observes that a self-clearing cause begins or ends (stale data, unreachable
    exchange)."""

    now_ms: int
    cause: Cause
    active: bool


@dataclass(frozen=True, slots=True)
class Operator:
    """A person's order. `symbol` is for CLOSE; `reason` is required to resume and kept for the
    audit."""

    now_ms: int
    command: Command
    reason: str
    symbol: int = -1

    def __post_init__(self) -> None:
        if self.command is Command.RESUME and not self.reason.strip():
            raise InvariantError("expected a reason to resume, was none")
        if self.command is Command.CLOSE and self.symbol < 0:
            raise InvariantError("expected the symbol to close, was none")


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing but time: deadlines and timed locks are looked at."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over (recorded data ended): close what is open, reason `end`."""

    now_ms: int


Event = (
    Cycle
    | History
    | Rewarm
    | Configured
    | OrderAccepted
    | OrderRejected
    | Observation
    | OrderFilled
    | OrderCancelled
    | FundingSettled
    | Liquidated
    | Condition
    | Operator
    | Tick
    | Finish
)


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """Send an order. Role ENTRY: IOC limit at `price`; EXIT: market; STOP: stop-market on mark
    price; TARGET: resting limit. All but ENTRY are reduce-only. In profile reference an entry is a
    market order of `notional` USDT (`price` 0, `contracts` 0)."""

    client_id: str
    symbol: int
    role: Role
    side: int
    """1 buys, -1 sells"""
    contracts: float
    price: float
    leverage: float
    notional: float = 0.0

    @property
    def reduce_only(self) -> bool:
        return self.role is not Role.ENTRY

    def __post_init__(self) -> None:
        sized = self.notional > 0.0 if self.contracts == 0.0 else self.contracts > 0.0
        if self.side not in (1, -1) or not sized or not self.price >= 0.0:
            raise InvariantError(f"expected side 1 or -1, a size above 0 and a price, was {self}")


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel what is left of an order."""

    client_id: str
    symbol: int


@dataclass(frozen=True, slots=True)
class TradeClosed:
    """A position is flat again; the finished round trip."""

    trade: Trade


class Level(Enum):
    """How much a person should care."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person or a log may want to know; never part of a decision."""

    now_ms: int
    level: Level
    kind: str
    symbol: int
    """-1 when it concerns the account"""
    text: str


Effect = PlaceOrder | CancelOrder | TradeClosed | Notice
