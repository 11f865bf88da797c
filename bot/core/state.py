"""Everything the core remembers, the invariants over it, and its digest."""

import hashlib
import math
from dataclasses import astuple, dataclass, field
from typing import NamedTuple

from bot.core.errors import InvariantError
from bot.core.kernel.codes import FLAT
from bot.core.kernel.records import World
from bot.core.messages import Role
from bot.core.modes import Cause, Modes
from bot.core.orders import Order, Status

ERROR_STREAK = 5  # order errors in a row on one symbol that lock it
ERROR_LOCK_MS = 15 * 60_000
ERROR_BURST = 10  # more exchange errors than this within ERROR_WINDOW_MS: REDUCE_ONLY
ERROR_WINDOW_MS = 60 * 60_000
ERROR_QUIET_MS = 30 * 60_000
DIFFERENT_MS = 5_000
"""a difference counts when it lasts this long: the exchange's reads and messages overtake each
other"""
WALLET_TOLERANCE = 1e-6  # USDT for each USDT: what rounding on the exchange explains
REMEMBERED_ENTRIES = 32
REMEMBERED_FILLS = 4_096  # fill ids kept to recognise a repeat; the oldest are forgotten


@dataclass(slots=True)
class Guard:
    """What is watched for one symbol outside the kernel."""

    uncovered_since: int = 0
    """ms; 0 while covered or flat"""
    alerted: bool = False
    error_streak: int = 0
    locked_until: int = 0
    """ms; the symbol takes no new risk before"""
    last_stop_ms: int = 0
    """when a stop was sent last; bounds how often a refused stop is retried"""
    last_exit_ms: int = 0
    """the same for exits"""
    begun_ms: int = 0
    """when the entry of the position was sent"""
    closing: bool = False
    """a person wants the position gone; until it is, a refused exit is sent again"""
    differs: int = 0
    """reads in a row that showed another position than ours"""
    differs_since: int = 0
    """ms; the first of them"""
    differs_from: float = 0.0
    """contracts of our position, signed, at the first of them"""
    held: float = 0.0
    """contracts of the position on the exchange, signed, when an order was ahead of its fills"""
    assumed: float = 0.0
    """contracts that were booked as gone because the position showed it, without a fill"""
    assumed_side: int = 0
    assumed_price: float = 0.0
    assumed_ms: int = 0
    """of what side they were, at which price on average they were booked, and when last"""


@dataclass(slots=True)
class Watch:
    """What reads of the account have shown and time must confirm."""

    wallet_since: int = 0
    """ms; the first of the reads in a row whose wallet our books do not explain"""
    wallet_gap: float = 0.0
    """what the newest of them had more than our books, USDT"""
    breach_ms: int = 0
    """the first read in a row that showed a loss beyond a limit of the kill switch"""


class Risk(NamedTuple):
    """What rests, or should rest, under stops on one symbol: side, contracts, level of the stop in
    USDT."""

    side: int
    contracts: float
    stop_price: float
    leverage: float


NOTHING = Risk(FLAT, 0.0, 0.0, 1.0)


@dataclass(slots=True)
class State:
    """The core's memory. `world` is the kernel's part; the rest exists only where orders are
    real."""

    world: World
    symbols: tuple[str, ...]
    installation: str
    modes: Modes = field(default_factory=Modes)
    orders: dict[str, Order] = field(default_factory=dict)
    """live orders only; a finished order leaves after its last event"""
    guards: list[Guard] = field(default_factory=list)
    sequence: int = 0
    """orders made so far; part of every client id"""
    now_ms: int = 0
    decided_ms: int = 0
    """the newest cycle"""
    error_times: list[int] = field(default_factory=list)
    """exchange errors inside the window, at most ERROR_BURST + 1"""
    last_error_ms: int = 0
    fill_ids: dict[str, None] = field(default_factory=dict)
    """insertion-ordered set"""
    ended: dict[str, Order] = field(default_factory=dict)
    """the last entries that ended without trading in full; a fill of theirs may yet be told"""
    puzzles: dict[str, int] = field(default_factory=dict)
    """records that do not fit our books (yet), by id, and when they were seen first (ms)"""
    read_ms: int = 0
    """when the account was read last; records since then may be unknown to us. No decision depends
    on it, so it is not part of the digest"""
    wallet_doubts: int = 0
    """reads in a row of a wallet that our books do not explain"""
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        if not self.guards:
            self.guards = [Guard() for _ in self.symbols]

    def live_orders(self, symbol: int, *roles: Role) -> list[Order]:
        """Return the live orders of a symbol in these roles (all roles when none is given)."""
        return [
            order
            for order in self.orders.values()
            if order.symbol == symbol and order.live and (not roles or order.role in roles)
        ]

    @property
    def held(self) -> list[int]:
        """The symbols in which there is a position."""
        return [k for k, pos in enumerate(self.world.positions) if pos.side != FLAT]

    @property
    def flat(self) -> bool:
        """Whether nothing is held and nothing is under way."""
        return all(pos.side == FLAT for pos in self.world.positions) and not any(
            order.live for order in self.orders.values()
        )

    @property
    def doubted(self) -> bool:
        """Whether the last reads show another account than our books. A person or time clears it
        up; it is no broken promise of ours."""
        gap = WALLET_TOLERANCE * max(1.0, abs(self.world.account.equity))
        return (
            not self.modes.causes.keys().isdisjoint((Cause.EQUITY_JUMP, Cause.FOREIGN_ORDER))
            or self.wallet_doubts > 0
            or abs(self.watch.wallet_gap) > gap
            or any(guard.differs for guard in self.guards)
        )

    @property
    def awaits_fills(self) -> bool:
        """Whether an order of ours has traded more than the list of fills shows."""
        return any(order.told > order.filled for order in self.orders.values())

    def at_risk(self, symbol: int) -> Risk:
        """Return what the exchange has of ours on a symbol: our position, or its own where orders
        of ours explain it whose fills are not on the list yet."""
        pos = self.world.positions[symbol]
        held = least = most = pos.side * pos.contracts
        stop, leverage = pos.stop_price, pos.leverage
        for order in self.orders.values():
            if order.told > order.filled and order.symbol == symbol and order.live:
                ahead = order.request.side * (order.told - order.filled)
                least, most = least + min(ahead, 0.0), most + max(ahead, 0.0)
                if pos.side == FLAT and order.role is Role.ENTRY:
                    stop, leverage = order.told_stop, order.request.leverage
        if least < most:
            held = min(max(self.guards[symbol].held, least), most)
        if held == 0.0 or held * pos.side < 0.0 or stop == 0.0:
            return NOTHING
        return Risk(1 if held > 0.0 else -1, abs(held), stop, leverage)

    def covered(self, symbol: int) -> float:
        """Return how many contracts of the position rest under acknowledged stops."""
        total = 0.0
        for order in self.orders.values():
            if order.symbol == symbol and order.role is Role.STOP and order.rests:
                total += order.waiting
        return total

    def relock(self, symbol: int) -> None:
        """Let the kernel know whether symbol takes new risk: not while locked for a time, while an
        order of it is unresolved, or while its position is in doubt."""
        guard = self.guards[symbol]
        doubt = any(
            order.symbol == symbol and order.status is Status.UNRESOLVED
            for order in self.orders.values()
        )
        held_back = guard.locked_until != 0 or guard.differs != 0 or doubt
        self.world.symbols[symbol].locked = 1 if held_back else 0

    def lasting(self, symbol: int) -> bool:
        """Return whether reads have shown another position than ours for long enough to count."""
        guard = self.guards[symbol]
        return guard.differs > 0 and self.now_ms - guard.differs_since >= DIFFERENT_MS

    def rest(self, symbol: int, now_ms: int) -> None:
        """Take no new risk on `symbol` for a while."""
        self.guards[symbol].locked_until = now_ms + ERROR_LOCK_MS
        self.relock(symbol)

    def remember(self, order: Order) -> None:
        """Keep an entry that has ended: a part of it may have traded without our knowing."""
        self.ended[order.request.client_id] = order
        if len(self.ended) > REMEMBERED_ENTRIES:
            self.ended.pop(next(iter(self.ended)))

    def first_sight(self, entry_id: str) -> bool:
        """Return whether the exchange's record `entry_id` is new, and remember it."""
        if not entry_id:
            return True
        if entry_id in self.fill_ids:
            return False
        self.fill_ids[entry_id] = None
        if len(self.fill_ids) > REMEMBERED_FILLS:
            self.fill_ids.pop(next(iter(self.fill_ids)))
        return True

    def puzzling(self, entry_id: str) -> bool:
        """Return whether a record that does not fit is to be looked at again: it may have overtaken
        another one. It is then as if unseen, so that the next read brings it after the others."""
        if not entry_id:
            return False
        since = self.puzzles.setdefault(entry_id, self.now_ms)
        if self.now_ms - since >= DIFFERENT_MS:
            del self.puzzles[entry_id]
            return False
        self.fill_ids.pop(entry_id, None)
        if len(self.puzzles) > REMEMBERED_ENTRIES:
            self.puzzles.pop(next(iter(self.puzzles)))
        return True

    def check_invariants(self) -> None:
        """Raise InvariantError when state contradicts itself; cheap enough to run after every
        event."""
        world = self.world
        if world.account.identity_error > 1.0:
            raise InvariantError(
                "equity = deposits + realised - fees + funding + unrealised: off by "
                f"{world.account.identity_error:.3g} tolerances"
            )
        if not math.isfinite(world.account.equity):
            raise InvariantError(f"expected a finite equity, was {world.account.equity}")
        for k, pos in enumerate(world.positions):
            held = pos.contracts > 0.0
            if held != (pos.side != FLAT):
                raise InvariantError(
                    f"{self.symbols[k]}: side {pos.side} with {pos.contracts} contracts"
                )
            if not held:
                continue
            if world.params.reference == 0 and pos.contracts != math.floor(pos.contracts):
                raise InvariantError(
                    f"{self.symbols[k]}: expected whole contracts, was {pos.contracts}"
                )
            if not (pos.stop_price > 0.0 and pos.entry_price > 0.0):
                raise InvariantError(f"{self.symbols[k]}: position without a stop level")

    def digest(self) -> str:
        """Return a hash of everything that can influence a later decision; equal states, equal
        digests."""
        parts = (text for _, text in self.digest_parts())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def digest_parts(self) -> list[tuple[str, str]]:
        """Return (name, text) of what the digest is made of."""
        world = self.world
        return [
            *((name, repr(getattr(world, name))) for name in world._fields),
            ("causes", repr(sorted((c.label, at) for c, at in self.modes.causes.items()))),
            ("orders", repr([(i, o.status.value, o) for i, o in self.orders.items()])),
            ("ended", repr(list(self.ended.items()))),
            ("guards", repr([astuple(guard) for guard in self.guards])),
            ("sequence", repr(self.sequence)),
            ("errors", repr((self.error_times, self.last_error_ms))),
            ("puzzles", repr(self.puzzles)),
            ("fill ids", repr(sorted(self.fill_ids))),
            ("wallet doubts", repr((self.wallet_doubts, self.watch))),
        ]
