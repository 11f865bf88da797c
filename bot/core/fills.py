"""What the exchange reports about our orders and positions, booked into state."""

import math
from dataclasses import replace

from bot.core.errors import InvariantError
from bot.core.kernel.accounting import book_entry, book_funding, book_reduce
from bot.core.kernel.codes import EXIT, FLAT, SIDE_NAMES
from bot.core.kernel.decide import want_reference_entry
from bot.core.kernel.records import Position, World
from bot.core.kernel.sizing import one_order
from bot.core.late import revive, take_back, turns
from bot.core.messages import (
    Effect,
    FundingSettled,
    Level,
    Notice,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
)
from bot.core.modes import Cause
from bot.core.orders import Order, Trigger
from bot.core.outside import (
    book_forgotten_fill,
    correct,
    foreign,
    is_assumed,
    overtakes,
    split,
)
from bot.core.protect import (
    close_trade,
    drop_older_stops,
    exit_order,
    forget,
    place_stop,
    place_target,
    send,
    settle_intent,
)
from bot.core.risk import approve
from bot.core.state import (
    ERROR_BURST,
    ERROR_LOCK_MS,
    ERROR_STREAK,
    ERROR_WINDOW_MS,
    State,
)


def entry_order(state: State, k: int) -> PlaceOrder:
    """Make the order for the entry the kernel approved on symbol `k`."""
    entry = approve(state.world, k)
    return send(
        state,
        k,
        Role.ENTRY,
        entry.side,
        entry.contracts,
        entry.limit_price,
        0,
        notional=entry.notional,
        leverage=entry.leverage,
    )


def on_accepted(state: State, event: OrderAccepted) -> list[Effect]:
    """The exchange has the order; for stops this is the moment from which they protect."""
    order = state.orders.get(event.client_id)
    if order is None:
        return []
    order.apply(Trigger.ACCEPT)
    order.missing = 0
    state.relock(order.symbol)
    state.guards[order.symbol].error_streak = 0
    if order.role is Role.STOP and order.rests:
        return drop_older_stops(state, order.symbol)
    return []


def on_rejected(state: State, event: OrderRejected) -> list[Effect]:
    """The order will never trade: forget it, count the error, lock the symbol after a streak."""
    order = state.orders.get(event.client_id)
    if order is None:
        return []
    order.apply(Trigger.REJECT)
    end_order(state, order)
    k = order.symbol
    if order.request.reduce_only and state.at_risk(k).side == FLAT:
        return []  # the position was gone before the order came: nothing is wrong
    if event.local:
        text = f"{order.role.value} order not sent: {event.message}"
        return [Notice(event.now_ms, Level.WARNING, "order_denied", k, text)]
    level = Level.CRITICAL if order.role is Role.STOP else Level.WARNING
    text = f"{order.role.value} order refused: {event.message}"
    notice = Notice(event.now_ms, level, "order_rejected", k, text)
    return [notice, *count_error(state, k, event.now_ms)]


def count_error(state: State, k: int, now_ms: int) -> list[Effect]:
    """Count an exchange error: five in a row lock the symbol, more than ten an hour tighten the
    mode."""
    guard = state.guards[k]
    guard.error_streak += 1
    effects: list[Effect] = []
    if guard.error_streak >= ERROR_STREAK:
        guard.error_streak = 0
        state.rest(k, now_ms)
        text = (
            f"locked for {ERROR_LOCK_MS // 60_000} min after {ERROR_STREAK} order errors in a row"
        )
        effects.append(Notice(now_ms, Level.WARNING, "symbol_locked", k, text))
    return [*effects, *note_error(state, now_ms)]


def note_error(state: State, now_ms: int) -> list[Effect]:
    """Count an exchange error of the account: more than ten an hour tighten the mode."""
    state.last_error_ms = now_ms
    recent = [t for t in state.error_times if t > now_ms - ERROR_WINDOW_MS]
    state.error_times = [*recent, now_ms][-(ERROR_BURST + 1) :]
    if len(state.error_times) > ERROR_BURST and state.modes.tighten(Cause.EXCHANGE_ERRORS, now_ms):
        text = f"more than {ERROR_BURST} exchange errors within an hour"
        return [Notice(now_ms, Level.CRITICAL, "mode", -1, f"REDUCE_ONLY: {text}")]
    return []


def on_cancelled(state: State, event: OrderCancelled) -> list[Effect]:
    """What was left of the order is gone; an entry that got nothing is over."""
    order = state.orders.get(event.client_id)
    if order is None:
        return []
    order.apply(Trigger.CANCEL)
    end_order(state, order)
    if order.role is not Role.ENTRY:
        return []
    state.remember(order)
    if order.filled > 0.0:
        return []
    text = "entry expired: no trade inside its limit"
    return [Notice(event.now_ms, Level.INFO, "entry_expired", order.symbol, text)]


def end_order(state: State, order: Order) -> None:
    """Forget a finished order and what it stood for."""
    forget(state, order)
    state.relock(order.symbol)
    if order.role in (Role.ENTRY, Role.EXIT):
        settle_intent(state, order.symbol)


def on_filled(state: State, event: OrderFilled) -> list[Effect]:
    """Book a fill; a repeat of one we have is nothing, one we did not ask for is foreign."""
    if not state.first_sight(event.fill_id):
        return []
    order = state.orders.get(event.client_id) or revive(state, event)
    if order is None:
        turning = turns(state, event)
        return book_turn(state, turning, event) if turning else book_forgotten_fill(state, event)
    if order.request.reduce_only and 0.0 < order.remaining < event.contracts:
        raise InvariantError(
            f"{state.symbols[order.symbol]}: {order.role.value} filled {event.contracts} contracts "
            f"of the {order.remaining} that were left"
        )
    k = order.symbol
    beyond = beyond_ours(state, order, event.contracts) > 0.0
    if (beyond or event.late) and is_assumed(state, k, order.request.side, event.contracts):
        take_fill(order, event.contracts)
        if not order.live:
            end_order(state, order)
        return correct(state, k, event)
    known, news = split(state, k, order.request.side, event) if beyond else (None, event)
    beyond = beyond_ours(state, order, news.contracts) > 0.0
    if beyond and not event.certain and overtakes(state, k, event.fill_id):
        return []
    state.puzzles.pop(event.fill_id, None)
    take_fill(order, event.contracts)
    state.relock(k)
    if order.role is Role.ENTRY:
        return book_entry_fill(state, order, event)
    effects = correct(state, k, known) if known is not None else []
    return [*effects, *book_exit_fill(state, order, news)]


def take_fill(order: Order, contracts: float) -> None:
    """Let an order have traded."""
    order.missing = 0
    order.filled += contracts
    whole = order.request.contracts == 0.0 or order.remaining <= 0.0
    order.apply(Trigger.FILL_ALL if whole else Trigger.FILL_PART)


def book_turn(state: State, order: Order, event: OrderFilled) -> list[Effect]:
    """Book a fill that turns our position around, in two parts; the second one is covered at once.

    It waits for an entry of the position that may still trade, however long that takes.
    """
    k = order.symbol
    entering = bool(state.live_orders(k, Role.ENTRY))
    if (entering or not event.certain) and overtakes(state, k, event.fill_id):
        return []
    held = state.world.positions[k].contracts
    paid = event.fee * (held / event.contracts)
    effects = book_forgotten_fill(state, replace(event, contracts=held, fee=paid))
    rest = replace(event, contracts=event.contracts - held, fee=event.fee - paid)
    take_back(state, order)
    take_fill(order, rest.contracts)
    return [*effects, *book_entry_fill(state, order, rest)]


def book_entry_fill(state: State, order: Order, event: OrderFilled) -> list[Effect]:
    """Book an entry's fill and protect it at once, before anything else happens."""
    k = order.symbol
    world = state.world
    opened = world.positions[k].side == FLAT
    if opened:
        state.guards[k].begun_ms = order.sent_ms
    book_entry(world, k, event.now_ms, event.contracts, event.price, event.fee)
    effects = [*place_stop(state, k), *place_target(state, k)]
    if opened:
        text = describe_opening(world, k, order)
        effects.append(Notice(event.now_ms, Level.INFO, "opened", k, text))
    if not order.live:
        end_order(state, order)
    return effects


def describe_opening(world: World, k: int, entry: Order) -> str:
    """Return what a person reads when a position was opened on symbol `k`; the rest of its entry
    may follow, and is told no more."""
    pos = world.positions[k]
    wanted = f" of {entry.request.contracts:g}" if entry.live else ""
    value = pos.contracts * world.specs[k].multiplier * pos.entry_price
    stop, target = -100.0 * pos.side * pos.stop_distance, 100.0 * pos.side * pos.target_distance
    return (
        f"opened {SIDE_NAMES[pos.side]} {pos.contracts:g}{wanted} ({value:,.0f} USDT) at "
        f"{pos.entry_price:g}; stop {pos.stop_price:g} ({stop:+.1f} %), "
        f"target {pos.target_price:g} ({target:+.1f} %)"
    )


def book_exit_fill(state: State, order: Order, event: OrderFilled) -> list[Effect]:
    """Book a fill that reduces a position; when it is flat, its other orders go.

    What our position does not have was somebody else's, who has added to it or closed a part
    meanwhile: the exchange holds one position for everybody on the account.
    """
    k = order.symbol
    pos = state.world.positions[k]
    theirs = beyond_ours(state, order, event.contracts)
    ours = event.contracts - theirs
    intent = state.world.intents[k]
    reverse = intent.reverse_side if intent.kind == EXIT else FLAT
    if not order.live:
        end_order(state, order)
    effects: list[Effect] = []
    if theirs > 0.0:
        text = f"{order.request.client_id} has closed {theirs:g} contracts that are not ours"
        effects += foreign(state, event.now_ms, text)
    if ours == 0.0:
        return effects
    spec, fee = state.world.specs[k], event.fee * (ours / event.contracts)
    book_reduce(state.world.account, pos, spec, ours, event.price, fee)
    if pos.contracts > 0.0:
        was_cut = order.request.contracts == one_order(spec, math.inf)
        rest = was_cut and order.role is Role.EXIT and not order.live
        return [*effects, *exit_order(state, k, order.reason)] if rest else effects
    effects += close_trade(state, k, event.now_ms, order.reason)
    if reverse != FLAT and order.role is Role.EXIT:
        want_reference_entry(state.world, k, event.now_ms, reverse)
        effects.append(entry_order(state, k))
    return effects


def beyond_ours(state: State, order: Order, contracts: float) -> float:
    """Return how many contracts of an exit's fill our position does not have; 0 for an entry."""
    if order.role is Role.ENTRY:
        return 0.0
    pos = state.world.positions[order.symbol]
    held = pos.contracts if pos.side == -order.request.side else 0.0
    return max(0.0, contracts - held)


def on_funding(state: State, event: FundingSettled) -> list[Effect]:
    """Book a funding settlement on the position it belongs to.

    It may be told after that position was closed: then it is the account's alone, and no part of
    the trade that comes next.
    """
    if not state.first_sight(event.entry_id):
        return []
    pos = state.world.positions[event.symbol]
    book_funding(state.world.account, pos if pos.side != FLAT else Position(), event.amount)
    return []
