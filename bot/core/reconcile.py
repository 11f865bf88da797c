"""From a read of the exchange to the events that make our books agree with it.

`reconcile` is a pure iterator of transitions: the caller feeds each event to `step` before it asks
for the next one, so every event is judged against books that hold the ones before. It can be
broken off anywhere; the next read yields what is still missing, because everything that is booked
is recognised by its id.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from bot.core.kernel.accounting import wallet
from bot.core.kernel.codes import FLAT
from bot.core.losses import equity_at, exceeds
from bot.core.messages import (
    Event,
    FundingSettled,
    Liquidated,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Role,
)
from bot.core.observations import (
    ForeignOrder,
    ForeignPosition,
    LossSeen,
    OrderAhead,
    OrderMissing,
    OrderResting,
    PositionAgrees,
    PositionSeen,
    StrayOrder,
    Transferred,
    WalletSeen,
)
from bot.core.orders import Order, Status, is_ours
from bot.core.outside import fits, is_assumed
from bot.core.state import WALLET_TOLERANCE, State

type Entry = OrderFilled | FundingSettled | Liquidated | Transferred
CLOCK_MS = 1_000  # so far our clock may be ahead of the exchange's


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the exchange says of one order."""

    client_id: str
    symbol: int
    resting: bool
    filled: float = 0.0
    """contracts"""
    refusal: str = ""
    """the exchange's text when it refused the order"""


@dataclass(frozen=True, slots=True)
class Holding:
    """One net position on the exchange; side 0 is flat. `mark` is the mark price, USDT."""

    side: int
    contracts: float
    mark: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One read of the account, in which nothing failed: a read that failed is no snapshot.

    `holdings` is by symbol; `open_orders` are all open orders, stops included; `reports` has an
    entry for every order that was asked for and is known; `entries` are the account's records since
    the time asked for.
    """

    now_ms: int
    wallet: float
    holdings: tuple[Holding, ...]
    open_orders: tuple[OrderReport, ...]
    asked: tuple[str, ...] = ()
    reports: dict[str, OrderReport] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    foreign: tuple[str, ...] = ()
    """contracts that are held and not configured"""


def in_doubt(state: State) -> tuple[str, ...]:
    """Return the ids of the orders a read should ask for: all that are live."""
    return tuple(order.request.client_id for order in state.orders.values() if order.live)


def reconcile(state: State, seen: Snapshot) -> Iterator[Event]:
    """Yield what `seen` shows and our books do not have, in an order in which it can be booked."""
    yield from missed_entries(state, seen)
    yield from explained(state, seen)
    for client_id in seen.asked:
        order = state.orders.get(client_id)
        if order is not None and order.live:
            yield from order_news(state, order, seen)
            yield from ahead_news(state, order, seen)
    yield from unexpected_orders(state, seen)
    yield from position_news(state, seen)
    yield from wallet_news(state, seen)
    yield from loss_news(state, seen)


def missed_entries(state: State, seen: Snapshot) -> Iterator[Event]:
    """Yield the account's records that are not booked yet, by time.

    After a fill that does not fit (yet), a smaller one of its order waits: it would fit where it
    does not belong.
    """
    puzzling: set[str] = set()
    for entry in by_time(seen.entries):
        name = entry.client_id if isinstance(entry, OrderFilled) else ""
        early = isinstance(entry, OrderFilled) and name in puzzling and fits(state, entry)
        if entry.entry_id not in state.fill_ids and not early:
            told = told_now(state, entry)
            if isinstance(told, OrderFilled):
                yield replace(told, late=is_late(state, seen, told))
            else:
                yield told
            if name and entry.entry_id in state.puzzles:
                puzzling.add(name)


def told_now[T: Entry](state: State, entry: T) -> T:
    """Return a record as one of now. What others have closed before the entry of our position was
    sent was a position of theirs, or an earlier one of ours."""
    now = max(entry.now_ms, state.now_ms)
    if not isinstance(entry, OrderFilled | Liquidated) or entry.symbol < 0:
        return replace(entry, now_ms=now)
    ours = isinstance(entry, OrderFilled) and is_ours(state.installation, entry.client_id)
    before = not ours and entry.now_ms < state.guards[entry.symbol].begun_ms - CLOCK_MS
    return replace(entry, now_ms=now, before=before)


def is_late(state: State, seen: Snapshot, fill: OrderFilled) -> bool:
    """Return whether a fill is the late word about contracts that were booked as gone: with all
    that is not booked yet, more would be gone than the position shows."""
    k = fill.symbol
    if not is_assumed(state, k, fill.side, fill.contracts):
        return False
    pos, holding = state.world.positions[k], seen.holdings[k]
    net = pos.side * pos.contracts + sum(f.side * f.contracts for f in unbooked(state, seen, k))
    left = holding.side * holding.contracts - net
    return state.guards[k].assumed_side * left >= fill.contracts


def unbooked(state: State, seen: Snapshot, k: int) -> list[OrderFilled]:
    """Return the fills on symbol `k` that our books do not have, by time."""
    return by_time(
        entry
        for entry in seen.entries
        if isinstance(entry, OrderFilled)
        and entry.symbol == k
        and entry.fill_id not in state.fill_ids
    )


def by_time[T: Entry](entries: Iterable[T]) -> list[T]:
    """Return records in the order of their time; those of one moment stay as they are."""
    return sorted(entries, key=lambda entry: entry.now_ms)


def explained(state: State, seen: Snapshot) -> Iterator[Event]:
    """Yield again the fills that do not fit our books where they are all that sets these apart from
    a position: nothing is missing that could have come before them.

    An order under way is no objection: had it traded, it would set them apart further.
    """
    for k, holding in enumerate(seen.holdings):
        fills = unbooked(state, seen, k)
        pos = state.world.positions[k]
        net = pos.side * pos.contracts + sum(fill.side * fill.contracts for fill in fills)
        if fills and net == holding.side * holding.contracts:
            for fill in fills:
                yield replace(told_now(state, fill), certain=True)


def order_news(state: State, order: Order, seen: Snapshot) -> Iterator[Event]:
    """Yield what became of one live order of ours."""
    now = max(seen.now_ms, state.now_ms)
    client_id = order.request.client_id
    report = seen.reports.get(client_id)
    if report is None:
        yield OrderMissing(now, client_id)
    elif report.refusal:
        yield OrderRejected(now, client_id, report.refusal)
    elif report.resting:
        if not order.rests:
            yield OrderResting(now, client_id)
    elif report.filled <= order.filled:
        yield OrderCancelled(now, client_id)
    # Else its last fills are not on the list yet: the next read will have them.


def ahead_news(state: State, order: Order, seen: Snapshot) -> Iterator[Event]:
    """Yield that an order has traded more than its fills say, and that it has not, once it had."""
    report, holding = seen.reports.get(order.request.client_id), seen.holdings[order.symbol]
    if not order.live or report is None:
        return
    if report.filled > order.filled or order.told_since:
        now, name = max(seen.now_ms, state.now_ms), order.request.client_id
        held = holding.side * holding.contracts
        yield OrderAhead(now, name, report.filled, report.resting, held, holding.mark)


def unexpected_orders(state: State, seen: Snapshot) -> Iterator[Event]:
    """Yield the open orders that our books do not know.

    One that was asked for was known when the read was made: what the read told has ended it since.
    Should it rest all the same, the next read does not ask for it.
    """
    now = max(seen.now_ms, state.now_ms)
    known = state.orders.keys() | set(seen.asked)
    for report in seen.open_orders:
        if report.client_id in known or guards_unknown(state, report, seen):
            continue
        if is_ours(state.installation, report.client_id):
            yield StrayOrder(now, report.client_id, report.symbol)
        else:
            yield ForeignOrder(now, report.client_id, report.symbol)
    for name in seen.foreign:
        yield ForeignPosition(now, name)


def guards_unknown(state: State, report: OrderReport, seen: Snapshot) -> bool:
    """Return whether an order is a stop of ours under a position that no stop we know of covers, or
    that our books have lost: it is all that protects it."""
    k = report.symbol
    return (
        0 <= k < len(seen.holdings)
        and seen.holdings[k].side != FLAT
        and state.covered(k) < seen.holdings[k].contracts
        and is_ours(state.installation, report.client_id)
        and report.client_id.endswith(f"-{Role.STOP.value}")
    )


def position_news(state: State, seen: Snapshot) -> Iterator[Event]:
    """Yield the positions that differ although every known fill is booked."""
    now = max(seen.now_ms, state.now_ms)
    late = awaited(state, seen)
    for k, holding in enumerate(seen.holdings):
        pos = state.world.positions[k]
        same = holding.side == pos.side and (pos.side == FLAT or holding.contracts == pos.contracts)
        if same:
            if state.guards[k].differs:
                yield PositionAgrees(now, k)
        elif k in late or not trading(state, k):
            yield PositionSeen(now, k, holding.side, holding.contracts, holding.mark, k in late)


def awaited(state: State, seen: Snapshot) -> set[int]:
    """Return the symbols of the orders that have traded more than the list of fills shows."""
    return {
        order.symbol
        for name, report in seen.reports.items()
        if (order := state.orders.get(name)) is not None and report.filled > order.filled
    }


def trading(state: State, k: int) -> bool:
    """Return whether an order that changes the position on symbol `k` is under way: then a read may
    be older or newer than our books, and proves nothing."""
    return any(
        order.role in (Role.ENTRY, Role.EXIT)
        and order.status in (Status.SENT, Status.PARTIAL, Status.OPEN, Status.CANCELLING)
        for order in state.live_orders(k)
    )


def wallet_news(state: State, seen: Snapshot) -> Iterator[Event]:
    """Yield the wallet when our books do not explain it, or when a doubt about it is over."""
    ours = wallet(state.world.account)
    tolerance = WALLET_TOLERANCE * max(1.0, abs(ours))
    differs = max(abs(seen.wallet - ours), abs(state.watch.wallet_gap)) > tolerance
    if differs or state.wallet_doubts:
        late = bool(awaited(state, seen))
        yield WalletSeen(max(seen.now_ms, state.now_ms), seen.wallet, late)


def loss_news(state: State, seen: Snapshot) -> Iterator[Event]:
    """Yield the equity at the exchange's marks when it is beyond a limit, or was before."""
    now = max(seen.now_ms, state.now_ms)
    equity = equity_at(state.world, [holding.mark for holding in seen.holdings])
    if equity is not None and (exceeds(state, equity, now) or state.watch.breach_ms):
        yield LossSeen(now, equity)
