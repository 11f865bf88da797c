"""Orders that protect: placing, replacing and checking the stops and targets of a position.

Protection is an invariant, not an event (DESIGN section 5): a position rests under acknowledged
reduce-only stops for at least its size. A new stop is placed before the old one is cancelled, so no
instant of a replacement is uncovered. Uncovered for 5 s is CRITICAL, for 15 s the position is
closed (both are parameters).
"""

from bot.core.kernel.accounting import finish_trade
from bot.core.kernel.codes import (
    ENTRY,
    EXIT,
    FLAT,
    FLATTEN,
    KILL,
    NO_INTENT,
    OPERATOR,
    STOP,
    TARGET,
)
from bot.core.kernel.records import Trade
from bot.core.kernel.sizing import one_order
from bot.core.messages import CancelOrder, Effect, Level, Notice, PlaceOrder, Role, TradeClosed
from bot.core.modes import Cause
from bot.core.orders import TERMINAL, Order, Status, Trigger, client_id
from bot.core.owners import RETIRED
from bot.core.state import DIFFERENT_MS, State

RELIABLE = (Status.SENT, Status.OPEN, Status.PARTIAL)
"""a stop that is being cancelled or may be lost is not relied on"""
RETRY_MS = 1_000  # between two tries of an order that the exchange refuses
LEVEL_RETRY_MS = 10_000  # of a stop that only moves the level: the older ones cover meanwhile
SLOWEST = 5  # times as long where tries are in doubt
MOST_IN_DOUBT = 10
"""tries of one role on one symbol, after which an exchange that cannot be reached is waited for"""


def send(
    state: State,
    symbol: int,
    role: Role,
    side: int,
    contracts: float,
    price: float,
    reason: int,
    notional: float = 0.0,
    leverage: float = 1.0,
) -> PlaceOrder:
    """Make the next order of ours and remember it as sent."""
    state.sequence += 1
    request = PlaceOrder(
        client_id=client_id(state.installation, state.sequence, role),
        symbol=symbol,
        role=role,
        side=side,
        contracts=contracts,
        price=price,
        leverage=leverage,
        notional=notional,
    )
    state.orders[request.client_id] = Order(request, reason, state.now_ms)
    return request


def staying(state: State, k: int, *roles: Role) -> list[Order]:
    """Return the live orders of symbol `k` in these roles that nobody has asked to cancel."""
    return [o for o in state.live_orders(k, *roles) if o.status is not Status.CANCELLING]


def leaving(state: State, k: int) -> bool:
    """Return whether an exit is on its way on symbol `k`. One that may be lost does not count, nor
    one that has ended, for so long that reads show what it has left; its fills may be awaited.

    Exits and stops are reduce-only: a second one in place of one that may be lost can do no harm.
    """
    ended_ms = state.now_ms - DIFFERENT_MS
    exits = [o for o in state.live_orders(k, Role.EXIT) if o.status is not Status.UNRESOLVED]
    return any(not (o.told_over and o.told_since <= ended_ms) for o in exits)


def cancel(order: Order) -> CancelOrder:
    """Ask the exchange to cancel what is left of an order."""
    order.apply(Trigger.ASK_CANCEL)
    return CancelOrder(order.request.client_id, order.symbol)


def forget(state: State, order: Order) -> None:
    """Drop a finished order from memory."""
    if order.status in TERMINAL:
        state.orders.pop(order.request.client_id, None)


def exit_order(state: State, k: int, reason: int) -> list[Effect]:
    """Leave the position on symbol `k` at the market, unless an exit is on its way already. What
    is more than one order may have follows when that has traded."""
    held = state.at_risk(k)
    if held.side == FLAT or leaving(state, k):
        return []
    intent = state.world.intents[k]
    intent.kind = EXIT
    intent.side = held.side
    intent.reason = reason
    state.guards[k].last_exit_ms = state.now_ms
    contracts = one_order(state.world.specs[k], held.contracts)
    return [send(state, k, Role.EXIT, -held.side, contracts, 0.0, reason, leverage=held.leverage)]


def has_stop(state: State, k: int) -> bool:
    """Return whether a stop at the level of the position on symbol `k`, and of its size at least,
    is there or on its way; where nothing is at risk none is missed."""
    held = state.at_risk(k)
    if held.side == FLAT:
        return True
    for order in state.orders.values():
        ours = order.symbol == k and order.role is Role.STOP and order.status in RELIABLE
        if ours and order.request.price == held.stop_price and order.waiting >= held.contracts:
            return True
    return False


def place_stop(state: State, k: int) -> list[Effect]:
    """Put the position on symbol `k` under a stop at its level, unless it is; older stops stay
    until it rests."""
    if has_stop(state, k):
        return []
    held = state.at_risk(k)
    state.guards[k].last_stop_ms = state.now_ms
    return [
        send(
            state,
            k,
            Role.STOP,
            -held.side,
            held.contracts,
            held.stop_price,
            STOP,
            leverage=held.leverage,
        )
    ]


def renew_stop(state: State, k: int) -> list[Effect]:
    """Place the stop of the position on symbol `k` if it is not there, but not faster than
    `may_retry` allows."""
    if has_stop(state, k) or not may_retry(state, k, Role.STOP, state.guards[k].last_stop_ms):
        return []
    return place_stop(state, k)


def drop_older_stops(state: State, k: int) -> list[Effect]:
    """Cancel the stops on symbol `k` that the newest acknowledged one makes superfluous.

    Acknowledgements may overtake each other, so it is the order of sending that counts, and a stop
    that does not cover the whole position replaces nothing.
    """
    resting = [o for o in staying(state, k, Role.STOP) if o.rests]
    if resting[-1].waiting < state.at_risk(k).contracts:
        return []
    return [cancel(order) for order in resting[:-1]]


def place_target(state: State, k: int) -> list[Effect]:
    """Rest the target of the position on symbol `k`; a target of the wrong size is replaced."""
    pos = state.world.positions[k]
    old = staying(state, k, Role.TARGET)
    if any(o.remaining == pos.contracts and o.request.price == pos.target_price for o in old):
        return []
    new = send(
        state,
        k,
        Role.TARGET,
        -pos.side,
        pos.contracts,
        pos.target_price,
        TARGET,
        leverage=pos.leverage,
    )
    return [*(cancel(order) for order in old), new]


def clear_orders(state: State, k: int) -> list[Effect]:
    """Cancel everything that is still live on symbol `k`; for a symbol that is flat."""
    return [cancel(o) for o in staying(state, k)]


def guard_positions(state: State) -> list[Effect]:
    """Check that every position is covered, and on its way out where it must go; act by the
    clock."""
    effects: list[Effect] = []
    ahead = state.awaits_fills
    for k, pos in enumerate(state.world.positions):
        guard = state.guards[k]
        if (state.at_risk(k).side if ahead else pos.side) == FLAT:
            guard.uncovered_since = 0
            if guard.closing:  # an entry that is being cancelled may still trade
                guard.closing = pos.side != FLAT or bool(state.live_orders(k, Role.ENTRY))
            continue
        effects += guard_cover(state, k)
        if state.modes.mode == FLATTEN:
            effects += retry_exit(state, k, KILL)
        elif guard.closing:
            effects += retry_exit(state, k, OPERATOR)
    return effects


def guard_cover(state: State, k: int) -> list[Effect]:
    """Retry the stop of an uncovered position, alert after a while, close it after another.

    The stop is wanted until the position is gone: an exit may take its time in a thin market.
    """
    guard, params = state.guards[k], state.world.params
    if state.covered(k) >= state.at_risk(k).contracts:
        guard.uncovered_since = 0
        return []
    if guard.uncovered_since == 0:
        guard.uncovered_since = state.now_ms
        guard.alerted = False
    effects: list[Effect] = []
    uncovered_ms = state.now_ms - guard.uncovered_since
    if uncovered_ms >= params.uncovered_close_ms:
        effects += retry_exit(state, k, STOP)
    effects += renew_stop(state, k)
    if uncovered_ms >= params.uncovered_alert_ms and not guard.alerted:
        guard.alerted = True
        text = f"no stop rests for {uncovered_ms / 1000:.0f} s"
        effects.append(Notice(state.now_ms, Level.CRITICAL, "uncovered", k, text))
    return effects


def renew_levels(state: State) -> list[Effect]:
    """Place the stops of covered positions whose replacements never left for want of a line. One
    that the exchange has refused waits for the next cycle: it would refuse it again and again."""
    if Cause.EXCHANGE_UNREACHABLE in state.modes.causes:
        return []
    effects: list[Effect] = []
    for k in state.held:
        guard = state.guards[k]
        if not guard.error_streak and state.now_ms - guard.last_stop_ms >= LEVEL_RETRY_MS:
            effects += renew_stop(state, k)
    return effects


def retry_exit(state: State, k: int, reason: int) -> list[Effect]:
    """Leave the position on symbol `k`, but not faster than an exchange that refuses can answer."""
    if not may_retry(state, k, Role.EXIT, state.guards[k].last_exit_ms):
        return []
    return exit_order(state, k, reason)


def may_retry(state: State, k: int, role: Role, last_ms: int) -> bool:
    """Return whether a stop or an exit may be sent again, after the last one at `last_ms`.

    Each try that is in doubt is kept, and asked for by every read: the more there are, the later
    comes the next one, and in an outage there is an end of them. The first read that succeeds ends
    the outage.
    """
    tries = doubts(state, k, role)
    if tries >= MOST_IN_DOUBT and Cause.EXCHANGE_UNREACHABLE in state.modes.causes:
        return False
    return state.now_ms - last_ms >= RETRY_MS * min(max(tries, 1), SLOWEST)


def doubts(state: State, k: int, role: Role) -> int:
    """Return how many orders of one role on symbol `k` may be lost."""
    return sum(o.status is Status.UNRESOLVED for o in state.live_orders(k, role))


def settle_intent(state: State, k: int) -> None:
    """Let the intent on symbol `k` say what the live orders still stand for; one has ended."""
    roles = {order.role for order in state.live_orders(k)}
    intent = state.world.intents[k]
    if Role.EXIT in roles:
        intent.kind = EXIT
    elif Role.ENTRY in roles:
        intent.kind = ENTRY
    else:
        intent.kind = NO_INTENT


def close_trade(state: State, k: int, now_ms: int, reason: int) -> list[Effect]:
    """The position on symbol `k` is flat: write its trade and cancel what is left of its orders."""
    trade = Trade()
    finish_trade(state.world, k, now_ms, reason, trade)
    trade.strategy %= RETIRED
    return [TradeClosed(trade), *clear_orders(state, k)]


def cancel_entries(state: State) -> list[Effect]:
    """Cancel every entry that may still trade."""
    return [
        cancel(order) for k in range(len(state.symbols)) for order in staying(state, k, Role.ENTRY)
    ]


def close_all(state: State, reason: int) -> list[Effect]:
    """Leave every position at the market."""
    return [e for k in range(len(state.symbols)) for e in exit_order(state, k, reason)]
