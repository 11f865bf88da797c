"""What reads of the exchange mean for us: orders in doubt, strays, positions and money that differ.

Rules of this file (DESIGN section 5): the exchange is right about size; an order that no answer
came for blocks new risk on its symbol until the exchange has spoken; nothing foreign is adopted or
touched; a read may be older than what we know, so a difference counts only when it lasts.
"""

from bot.core.fills import end_order
from bot.core.kernel.accounting import book_reduce, wallet
from bot.core.kernel.codes import EXTERNAL, FLAT, SIDE_NAMES
from bot.core.kernel.levels import set_levels
from bot.core.kernel.records import Position
from bot.core.messages import CancelOrder, Effect, Level, Notice, Role
from bot.core.modes import Cause
from bot.core.observations import (
    ForeignOrder,
    ForeignPosition,
    OrderAhead,
    OrderMissing,
    OrderResting,
    OutcomeUnknown,
    PositionAgrees,
    PositionSeen,
    StrayOrder,
    Transferred,
    WalletSeen,
)
from bot.core.orders import Order, Status, Trigger
from bot.core.outside import foreign, is_assumed
from bot.core.protect import (
    cancel,
    close_trade,
    doubts,
    drop_older_stops,
    place_stop,
    renew_stop,
    staying,
)
from bot.core.state import DIFFERENT_MS, State

MISSING_READS = 3
MISSING_MS = 30_000
"""an order is void after this many reads over this time, with an unchanged position"""
DIFFERENT_READS = 2
AHEAD_MS = 1_000
"""so long an order may be ahead of its fills because they were read a moment earlier"""
AWAITED_MS = 60_000
"""a fill may be that late on the exchange's list"""
EQUITY_JUMP = 0.005  # share of equity (DESIGN section 4)


def on_unknown(state: State, event: OutcomeUnknown) -> list[Effect]:
    """No answer came: the order is in doubt until the exchange tells us."""
    order = state.orders.get(event.client_id)
    if order is None or order.status not in (Status.SENT, Status.UNRESOLVED):
        return []
    order.apply(Trigger.LOSE)
    state.relock(order.symbol)
    text = f"{order.role.value} order {event.client_id}: no answer, asking the exchange"
    notice = Notice(event.now_ms, Level.WARNING, "unresolved", order.symbol, text)
    return [notice, *replace_stop(state, order)]


def replace_stop(state: State, order: Order) -> list[Effect]:
    """Send another stop at once when one may be lost: both are reduce-only, waiting is not safe.
    When that may be lost, too, the next one comes by the clock."""
    k = order.symbol
    if order.role is not Role.STOP or state.at_risk(k).side == FLAT:
        return []
    return place_stop(state, k) if doubts(state, k, Role.STOP) == 1 else renew_stop(state, k)


def on_resting(state: State, event: OrderResting) -> list[Effect]:
    """The order is open: an acceptance we missed, or a cancellation that never arrived."""
    order = state.orders.get(event.client_id)
    if order is None:
        return []
    order.missing = 0
    if order.status is Status.CANCELLING:
        return [CancelOrder(event.client_id, order.symbol)]
    order.apply(Trigger.ACCEPT)
    state.relock(order.symbol)
    return drop_older_stops(state, order.symbol) if order.role is Role.STOP else []


def on_missing(state: State, event: OrderMissing) -> list[Effect]:
    """The exchange does not know the order. It is void after enough reads, and not before."""
    order = state.orders.get(event.client_id)
    if order is None:
        return []
    pos = state.world.positions[order.symbol]
    held = pos.side * pos.contracts
    if order.missing == 0 or order.missing_position != held:
        order.missing = 0
        order.missing_since = event.now_ms
        order.missing_position = held
    order.missing += 1
    order.apply(Trigger.LOSE)
    state.relock(order.symbol)
    waited = event.now_ms - order.missing_since
    if order.missing < MISSING_READS or waited < MISSING_MS:
        return replace_stop(state, order)
    return give_up(state, order)


def give_up(state: State, order: Order) -> list[Effect]:
    """Treat an order as never received. An entry is remembered: should it appear, it is ours."""
    order.apply(Trigger.VOID)
    end_order(state, order)
    if order.role is Role.ENTRY:
        state.remember(order)
        state.rest(order.symbol, state.now_ms)
    text = f"{order.role.value} order {order.request.client_id} never reached the exchange"
    return [Notice(state.now_ms, Level.WARNING, "void", order.symbol, text)]


def on_stray(state: State, event: StrayOrder) -> list[Effect]:
    """An order of ours that nothing waits for any more: cancel it."""
    text = f"open order {event.client_id} is ours but unexpected: cancelled"
    return [
        Notice(event.now_ms, Level.WARNING, "stray_order", event.symbol, text),
        CancelOrder(event.client_id, event.symbol),
    ]


def on_foreign(state: State, event: ForeignOrder) -> list[Effect]:
    """Somebody else trades on this account: hold new entries until a person has looked."""
    return foreign(state, event.now_ms, f"open order {event.client_id} is not ours")


def on_foreign_position(state: State, event: ForeignPosition) -> list[Effect]:
    """Somebody holds a contract on this account that we do not trade."""
    return foreign(state, event.now_ms, f"position in {event.name}, which is not configured")


def on_order_ahead(state: State, event: OrderAhead) -> list[Effect]:
    """An order of ours is ahead of its fills: what an entry has bought is put under a stop before
    they are told, when that lasts; what an exit has sold needs none any more.

    The position says how much that is. While our books are flat the level of the stop is measured
    from the mark; a fill moves it.
    """
    order = state.orders.get(event.client_id)
    if order is None:
        return []
    k, ahead = order.symbol, event.contracts > order.filled
    state.guards[k].held = event.held
    order.told_since = (order.told_since or event.now_ms) if ahead else 0
    if order.request.reduce_only or not ahead:
        order.told, order.told_over = event.contracts, ahead and not event.resting
        return []
    if event.now_ms - order.told_since < AHEAD_MS:
        return []
    known, order.told = order.told, event.contracts
    order.told_stop = order.told_stop or stop_from(state, order, event.mark)
    if not state.at_risk(k).side:  # it is gone again, and nothing cancels a stop over flat books
        return [cancel(stop) for stop in staying(state, k, Role.STOP)]
    if known >= order.told:
        return place_stop(state, k)
    text = f"{event.client_id} has traded {order.told:g} contracts, listed are {order.filled:g}"
    return [Notice(event.now_ms, Level.WARNING, "fills_late", k, text), *place_stop(state, k)]


def stop_from(state: State, entry: Order, mark: float) -> float:
    """Return the level of the stop of what an entry has bought at about `mark`, USDT."""
    as_held = Position(entry.request.side, entry.told, mark or entry.request.price)
    as_held.stop_distance = state.world.intents[entry.symbol].stop_distance
    set_levels(as_held, state.world.params, state.world.specs[entry.symbol])
    return as_held.stop_price


def on_position_seen(state: State, event: PositionSeen) -> list[Effect]:
    """The position differs from our books: lock the symbol; when it lasts, follow.

    Once our books have moved it is another difference, and it has to last anew.
    """
    k = event.symbol
    guard, pos = state.guards[k], state.world.positions[k]
    held = pos.side * pos.contracts
    if guard.differs == 0 or guard.differs_from != held:
        guard.differs, guard.differs_since, guard.differs_from = 0, event.now_ms, held
    guard.differs += 1
    state.relock(k)
    lasting = lasts(event, guard.differs_since)
    if guard.differs < DIFFERENT_READS or not lasting:
        return []
    ours = f"{SIDE_NAMES[pos.side]} {pos.contracts:g}"
    theirs = f"{SIDE_NAMES[event.side]} {event.contracts:g}"
    text = f"position is {theirs} on the exchange and {ours} in our books"
    gone = event.side in (FLAT, pos.side)
    if not gone or event.contracts >= pos.contracts:
        return foreign(state, event.now_ms, f"{state.symbols[k]}: {text}")
    notice = Notice(event.now_ms, Level.CRITICAL, "external_position_change", k, text)
    return [notice, *follow_reduction(state, event)]


def lasts(event: PositionSeen | WalletSeen, since_ms: int) -> bool:
    """Return whether a difference counts by now: position and wallet change with a fill, and it is
    on the list only later."""
    most_ms = AWAITED_MS if event.awaited else DIFFERENT_MS
    return event.now_ms - since_ms >= most_ms


def follow_reduction(state: State, event: PositionSeen) -> list[Effect]:
    """Book what somebody else closed, at the mark: nobody told us the price or the fee. Should its
    fill be told after all, it corrects this; so does that of an earlier time, which is awaited."""
    k = event.symbol
    pos, spec, guard = state.world.positions[k], state.world.specs[k], state.guards[k]
    price = event.price or state.world.symbols[k].mark  # a flat position comes without a mark
    gone = pos.contracts - event.contracts
    known = guard.assumed if is_assumed(state, k, -pos.side, guard.assumed) else 0.0
    guard.assumed_price = (known * guard.assumed_price + gone * price) / (known + gone)
    guard.assumed, guard.assumed_side, guard.assumed_ms = known + gone, pos.side, event.now_ms
    book_reduce(state.world.account, pos, spec, gone, price, 0.0)
    guard.differs = 0
    state.rest(k, event.now_ms)
    return [] if pos.contracts > 0.0 else close_trade(state, k, event.now_ms, EXTERNAL)


def on_position_agrees(state: State, event: PositionAgrees) -> list[Effect]:
    """The doubt about a symbol's position is over."""
    state.guards[event.symbol].differs = 0
    state.relock(event.symbol)
    return []


def on_wallet_seen(state: State, event: WalletSeen) -> list[Effect]:
    """The wallet is not what our books say: a jump holds new entries until a person has looked."""
    account, watch = state.world.account, state.watch
    ours, before = wallet(account), watch.wallet_gap
    watch.wallet_gap = event.wallet - ours
    if abs(watch.wallet_gap) <= EQUITY_JUMP * max(account.equity, 0.0):
        state.wallet_doubts = 0
        return []
    # One of the fills that are awaited has come: the others may be as late, too.
    if state.wallet_doubts == 0 or (event.awaited and watch.wallet_gap != before):
        watch.wallet_since = event.now_ms
    state.wallet_doubts += 1
    lasting = lasts(event, watch.wallet_since)
    if state.wallet_doubts < DIFFERENT_READS or not lasting:
        return []
    if not state.modes.tighten(Cause.EQUITY_JUMP, event.now_ms):
        return []
    text = f"wallet is {event.wallet:,.2f} USDT on the exchange and {ours:,.2f} in our books"
    return [Notice(event.now_ms, Level.CRITICAL, "equity_jump", -1, text)]


def settle_wallet(state: State) -> list[Effect]:
    """Book what a person has looked at and accepts: the difference of the wallet becomes a
    transfer. Without this the doubt would come back with the next read.

    Not while a fill is awaited, of ours or of what others have closed, which will explain it:
    booked twice, it would be wrong for good.
    """
    awaited = state.awaits_fills or any(
        is_assumed(state, k, -guard.assumed_side, guard.assumed)
        for k, guard in enumerate(state.guards)
    )
    gap, state.watch.wallet_gap, state.wallet_doubts = state.watch.wallet_gap, 0.0, 0
    if gap == 0.0:
        return []
    if not awaited:
        return move_money(state, gap)
    text = f"{gap:+,.2f} USDT of the wallet are not booked: a fill is awaited that may explain them"
    return [Notice(state.now_ms, Level.WARNING, "equity_jump", -1, text)]


def on_transferred(state: State, event: Transferred) -> list[Effect]:
    """Money came or went by a person's hand: no profit and no loss, so every peak moves along."""
    return move_money(state, event.amount) if state.first_sight(event.entry_id) else []


def move_money(state: State, amount: float) -> list[Effect]:
    """Book a transfer of `amount` USDT, and move every equity that losses are measured from."""
    account = state.world.account
    account.deposits += amount
    account.cash += amount
    account.equity += amount
    account.peak_equity += amount
    account.day_equity += amount
    window = state.world.window_equity
    for i in range(account.window_head, account.window_tail):
        window[i % len(window)] += amount
    text = f"{'deposit' if amount > 0.0 else 'withdrawal'} of {abs(amount):,.2f} USDT"
    return [Notice(state.now_ms, Level.INFO, "transfer", -1, text)]
