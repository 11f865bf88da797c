"""`step(state, event) -> effects`: the one place where the trading process decides anything.

The caller's duties, in this order, for every event:
1. call `step`; an exception means that state is half changed: end the process, never continue;
2. make event and effects durable, in one commit;
3. carry out the effects in their order;
4. feed back what the exchange answers, as events.

The core neither reads a clock nor draws a random number: equal events give equal effects.
"""

from collections.abc import Callable
from typing import Any

from bot.core.errors import InvariantError
from bot.core.fills import (
    entry_order,
    on_accepted,
    on_cancelled,
    on_filled,
    on_funding,
    on_rejected,
)
from bot.core.history import on_history, on_rewarm, see_bars
from bot.core.kernel.accounting import mark_equity
from bot.core.kernel.codes import (
    END,
    EXIT,
    FLAT,
    FLATTEN,
    KILL,
    OPERATOR,
    SIDE_NAMES,
)
from bot.core.kernel.decide import decide, judge
from bot.core.kernel.params import Params
from bot.core.losses import on_loss_seen
from bot.core.messages import (
    Command,
    Condition,
    Configured,
    Cycle,
    Effect,
    Event,
    Finish,
    FundingSettled,
    History,
    Level,
    Liquidated,
    Notice,
    Operator,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Rewarm,
    Role,
    Tick,
)
from bot.core.mode_changes import clear_timed, mode_notice, on_condition, on_tick, sync_limits
from bot.core.modes import Cause, Clearer
from bot.core.observations import (
    ForeignOrder,
    ForeignPosition,
    LossSeen,
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
from bot.core.outside import on_liquidated
from bot.core.protect import (
    cancel,
    cancel_entries,
    close_all,
    exit_order,
    guard_positions,
    renew_stop,
    staying,
)
from bot.core.risk import review
from bot.core.state import State
from bot.core.truth import (
    on_foreign,
    on_foreign_position,
    on_missing,
    on_order_ahead,
    on_position_agrees,
    on_position_seen,
    on_resting,
    on_stray,
    on_transferred,
    on_unknown,
    on_wallet_seen,
    settle_wallet,
)


def step(state: State, event: Event) -> list[Effect]:
    """Take one event into `state` and return what is to be done about it.

    Raises
    ------
    InvariantError : time ran backwards, or state contradicts itself after the event
    """
    # Bars belong to when they ended, and come later. What follows from them is of when they came:
    # the ticks until then are in no journal, so that their time must not be needed.
    now = event.local_ms if isinstance(event, Cycle) else event.now_ms
    if now >= state.now_ms:
        state.now_ms = now
    elif not isinstance(event, Cycle | History):
        raise InvariantError(f"time ran backwards: {now} after {state.now_ms}")
    effects = HANDLERS[type(event)](state, event)
    effects += guard_positions(state)
    state.check_invariants()
    return effects


def on_cycle(state: State, event: Cycle) -> list[Effect]:
    """See the bars, judge the limits, decide, and turn intents into orders: exits before
    entries."""
    world = state.world
    now = event.now_ms
    if now <= state.decided_ms:
        raise InvariantError(f"a cycle is decided once: {now} after {state.decided_ms}")
    before = state.modes.name
    state.decided_ms = now
    see_bars(state, event)
    judge(world, now)
    sync_limits(state)
    unlocked = clear_timed(state)
    decide(world, now, state.modes.mode)
    effects = [*unlocked, *mode_notice(state, before)]
    for k, intent in enumerate(world.intents):
        if intent.kind == EXIT and world.positions[k].side != FLAT:
            effects += exit_order(state, k, intent.reason)
    if state.modes.mode == FLATTEN:
        effects += cancel_entries(state)
    effects += send_entries(state, now)
    for k, pos in enumerate(world.positions):
        if pos.side != FLAT and world.params.reference == 0:
            effects += renew_stop(state, k)
    return effects


def send_entries(state: State, now: int) -> list[Effect]:
    """Make orders of what risk approved in this cycle, and say what it refused and why."""
    effects: list[Effect] = []
    approved, refused = review(state.world, now)
    for entry in approved:
        effects.append(entry_order(state, entry.symbol))
        size = "cut to " if entry.cut else ""
        text = f"{entry.strategy} {SIDE_NAMES[entry.side]} {size}{entry.contracts:g} contracts"
        effects.append(Notice(now, Level.INFO, "entry", entry.symbol, text))
    for no in refused:
        text = f"{no.strategy} {SIDE_NAMES[no.side]} refused: {no.reason}"
        effects.append(Notice(now, Level.INFO, "refused", no.symbol, text))
    return effects


def on_operator(state: State, event: Operator) -> list[Effect]:
    """Obey a person: in every mode, and before anything a strategy wants."""
    before = state.modes.name
    said = Notice(
        event.now_ms, Level.WARNING, "operator", -1, f"{event.command.value}: {event.reason}"
    )
    effects: list[Effect] = [said]
    if event.command is Command.KILL:
        state.modes.tighten(Cause.KILL_SWITCH, event.now_ms)
        effects += cancel_entries(state) + close_all(state, KILL)
    elif event.command is Command.HALT:
        state.modes.tighten(Cause.OPERATOR_HALT, event.now_ms)
    elif event.command is Command.CLOSE:
        state.guards[event.symbol].closing = True
        effects += [cancel(order) for order in staying(state, event.symbol, Role.ENTRY)]
        effects += exit_order(state, event.symbol, OPERATOR)
    else:
        effects += resume(state)
    return effects + mode_notice(state, before)


def resume(state: State) -> list[Effect]:
    """Clear what only a person clears. Drawdown is measured anew from the equity of this moment."""
    effects = settle_wallet(state) if Cause.EQUITY_JUMP in state.modes.causes else []
    for cause in [c for c in state.modes.causes if c.clearer is Clearer.PERSON]:
        state.modes.clear(cause, Clearer.PERSON)
    account = state.world.account
    account.killed_at = 0
    account.peak_equity = mark_equity(state.world)
    account.window_head = account.window_tail
    state.watch.breach_ms = 0
    return effects


def on_configured(state: State, event: Configured) -> list[Effect]:
    """Go on under other parameters; open positions keep their leverage and their stops."""
    world = state.world
    for name in Params.__slots__:
        setattr(world.params, name, getattr(event.params, name))
    world.tiers[:] = event.tiers
    world.account.tier = min(world.account.tier, len(event.tiers) - 1)
    text = f"configuration {event.config_hash} is in force"
    return [Notice(event.now_ms, Level.INFO, "reload", -1, text)]


def on_finish(state: State, event: Finish) -> list[Effect]:
    """Close what is open because the data ended, reason `end`; no reversal follows."""
    for intent in state.world.intents:
        intent.reverse_side = FLAT
    for order in state.orders.values():
        if order.role is Role.EXIT:
            order.reason = END
    return cancel_entries(state) + close_all(state, END)


HANDLERS: dict[type, Callable[[State, Any], list[Effect]]] = {
    Cycle: on_cycle,
    History: on_history,
    Rewarm: on_rewarm,
    Configured: on_configured,
    OrderAccepted: on_accepted,
    OrderRejected: on_rejected,
    OutcomeUnknown: on_unknown,
    OrderResting: on_resting,
    OrderMissing: on_missing,
    StrayOrder: on_stray,
    ForeignOrder: on_foreign,
    ForeignPosition: on_foreign_position,
    LossSeen: on_loss_seen,
    OrderAhead: on_order_ahead,
    PositionSeen: on_position_seen,
    PositionAgrees: on_position_agrees,
    WalletSeen: on_wallet_seen,
    Transferred: on_transferred,
    OrderFilled: on_filled,
    OrderCancelled: on_cancelled,
    FundingSettled: on_funding,
    Liquidated: on_liquidated,
    Condition: on_condition,
    Operator: on_operator,
    Tick: on_tick,
    Finish: on_finish,
}
