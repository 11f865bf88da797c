"""What happens to positions and orders of the account without an order of ours behind it:
liquidations, a person's or another program's trades, emergency orders of our own.
"""

from dataclasses import replace

from bot.core.kernel.accounting import book_reduce
from bot.core.kernel.codes import EXTERNAL, FLAT, KILL, LIQUIDATION
from bot.core.messages import Effect, Level, Liquidated, Notice, OrderFilled, Role
from bot.core.modes import Cause
from bot.core.observations import Takeover
from bot.core.orders import is_a_bots, is_ours
from bot.core.protect import close_trade
from bot.core.state import State

LATE_MS = 10 * 60_000
"""a fill is taken for the word about a position that was found smaller for so long"""


def foreign(state: State, now_ms: int, what: str) -> list[Effect]:
    """Hold new entries because the account shows something that is not ours; a person must look."""
    if not state.modes.tighten(Cause.FOREIGN_ORDER, now_ms):
        return []
    return [Notice(now_ms, Level.CRITICAL, "foreign_order", -1, what)]


def is_assumed(state: State, k: int, side: int, contracts: float) -> bool:
    """Return whether a fill on `side` is the late word about contracts that were booked as gone.

    No other position can be meant: the symbol rests for longer than a word may be late.
    """
    if k < 0:
        return False
    guard = state.guards[k]
    recent = state.now_ms - guard.assumed_ms <= LATE_MS
    return recent and side == -guard.assumed_side and 0.0 < contracts <= guard.assumed


def correct(state: State, k: int, event: OrderFilled | Liquidated) -> list[Effect]:
    """Book what a late fill says beside what was assumed: another price, and a fee."""
    guard, account, pos = state.guards[k], state.world.account, state.world.positions[k]
    state.puzzles.pop(event.entry_id, None)
    guard.assumed -= event.contracts
    apart = guard.assumed_side * (event.price - guard.assumed_price)
    gain = apart * event.contracts * state.world.specs[k].multiplier
    account.cash += gain - event.fee
    account.realised += gain
    account.fees += event.fee
    if pos.side == guard.assumed_side:  # a finished trade stays as it is
        pos.realised += gain
        pos.fees += event.fee
        pos.exit_value += (event.price - guard.assumed_price) * event.contracts
    text = f"{event.contracts:g} contracts that were missing were closed at {event.price:g}"
    return [Notice(event.now_ms, Level.INFO, "late_fill", k, text)]


def book_forgotten_fill(state: State, event: OrderFilled) -> list[Effect]:
    """Book a reduction by an emergency order of ours or by a person; the symbol rests for a while.

    Anything else that traded here is foreign: what a person has sold beyond all that we held, which
    is a position of its own by now, and every trade of another bot (DESIGN section 5 rule 10).
    """
    k = event.symbol
    ours = is_ours(state.installation, event.client_id)
    effects: list[Effect] = []
    if not ours and is_a_bots(event.client_id):
        effects = foreign(state, event.now_ms, f"fill of another bot's order {event.client_id}")
    if is_assumed(state, k, event.side, event.contracts):
        return [*effects, *correct(state, k, event)]
    known, event = split(state, k, event.side, event)
    fitting = fits(state, event)
    if not fitting and k >= 0 and not event.certain and overtakes(state, k, event.fill_id):
        return effects
    effects += correct(state, k, known) if known is not None else []
    if not fitting:
        state.puzzles.pop(event.fill_id, None)
        effects += foreign(state, event.now_ms, f"fill of unknown order {event.client_id}")
        if k < 0 or event.before or state.world.positions[k].side != -event.side:
            return effects
        event = part(event, state.world.positions[k].contracts)
    if event.client_id in state.ended:
        state.ended[event.client_id].filled += event.contracts
    state.rest(k, event.now_ms)
    text = f"{event.contracts:g} contracts closed at {event.price:g} by {event.client_id}"
    level, kind = Level.CRITICAL, "external_position_change"
    if ours:
        level, kind = Level.WARNING, "emergency_fill"
    notice = Notice(event.now_ms, level, kind, k, text)
    return [*effects, notice, *reduce_outside(state, event, KILL if ours else EXTERNAL)]


def part[T: OrderFilled | Liquidated](event: T, contracts: float) -> T:
    """Return a part of a record, with its share of the fee."""
    return replace(event, contracts=contracts, fee=event.fee * (contracts / event.contracts))


def split[T: OrderFilled | Liquidated](
    state: State, k: int, side: int, event: T
) -> tuple[T | None, T]:
    """Return the part of a record that is the late word about contracts that were booked as gone,
    None when no part is, and the rest of it, which is news."""
    assumed = state.guards[k].assumed
    if not is_assumed(state, k, side, assumed):
        return None, event
    return part(event, assumed), part(event, event.contracts - assumed)


def overtakes(state: State, k: int, entry_id: str) -> bool:
    """Return whether a record that does not fit is to be looked at again: it may be told before the
    fills of an entry, and waits for one that may still trade, however long that takes."""
    if not state.live_orders(k, Role.ENTRY):
        return state.puzzling(entry_id)
    state.fill_ids.pop(entry_id, None)
    return True


def fits(state: State, event: OrderFilled) -> bool:
    """Return whether a fill fits into the position on its symbol as a reduction of it."""
    if event.symbol < 0 or event.before:
        return False
    pos = state.world.positions[event.symbol]
    return pos.side != FLAT and pos.side == -event.side and event.contracts <= pos.contracts


def reduce_outside(state: State, event: OrderFilled | Liquidated, reason: int) -> list[Effect]:
    """Book a reduction that no live order of ours stands behind."""
    k = event.symbol
    state.puzzles.pop(event.entry_id, None)
    pos, spec = state.world.positions[k], state.world.specs[k]
    book_reduce(state.world.account, pos, spec, event.contracts, event.price, event.fee)
    if pos.contracts > 0.0:
        return []
    return close_trade(state, k, event.now_ms, reason)


def on_liquidated(state: State, event: Liquidated) -> list[Effect]:
    """Book what the exchange took, and tell a person. What is left keeps its orders; when nothing
    is, they go."""
    if not state.first_sight(event.entry_id):
        return []
    k = event.symbol
    gone_side = -state.guards[k].assumed_side
    if is_assumed(state, k, gone_side, event.contracts):
        return correct(state, k, event)
    known, event = split(state, k, gone_side, event)
    pos = state.world.positions[k]
    fitting = pos.side != FLAT and not event.before and event.contracts <= pos.contracts
    if not fitting and overtakes(state, k, event.entry_id):
        return []
    effects = correct(state, k, known) if known is not None else []
    if not fitting:
        state.puzzles.pop(event.entry_id, None)
        text = f"liquidation of {event.contracts} we do not hold"
        effects += foreign(state, event.now_ms, text)
        if pos.side == FLAT or event.before:
            return effects
        event = part(event, pos.contracts)
    kind, reason = "liquidated", LIQUIDATION
    if event.way is not Takeover.LIQUIDATION:  # no decision of ours has brought it about
        kind, reason = "external_position_change", EXTERNAL
        state.rest(k, event.now_ms)
    text = f"{event.way.value} {event.contracts:g} contracts at {event.price:g}"
    notice = Notice(event.now_ms, Level.CRITICAL, kind, k, text)
    return [*effects, notice, *reduce_outside(state, event, reason)]
