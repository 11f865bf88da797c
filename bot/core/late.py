"""Entries of ours that had ended and have traded after all (DESIGN section 5): they are ours, and
the position that they build is covered like any other.
"""

from bot.core.messages import OrderFilled, Role
from bot.core.orders import Order, Status
from bot.core.protect import settle_intent
from bot.core.state import State


def revive(state: State, event: OrderFilled) -> Order | None:
    """Take an entry back that had ended and has traded after all: it is ours.

    Against a position, or an entry on its way, of the other side it is none: it reduces that one.
    """
    order = state.ended.get(event.client_id)
    if order is None or -order.request.side in sides(state, order.symbol):
        return None
    return take_back(state, order)


def take_back(state: State, order: Order) -> Order:
    """Let an entry that had ended be a live one."""
    name = order.request.client_id
    state.orders[name] = state.ended.pop(name)
    order.status = Status.UNRESOLVED
    intent = state.world.intents[order.symbol]
    intent.side, intent.leverage = order.request.side, order.request.leverage
    settle_intent(state, order.symbol)  # an exit under way stays
    return order


def turns(state: State, event: OrderFilled) -> Order | None:
    """Return the entry that had ended when its fill is larger than our position on the other side,
    or meets an entry of that side on its way: it closes that one, and holds what is left."""
    order = state.ended.get(event.client_id)
    if order is None or event.symbol != order.symbol:
        return None
    against = -order.request.side in sides(state, order.symbol)
    larger = event.contracts > state.world.positions[order.symbol].contracts
    return order if against and larger else None


def sides(state: State, k: int) -> set[int]:
    """Return the side of the position on symbol `k` and of the entries that may still trade."""
    entries = {order.request.side for order in state.live_orders(k, Role.ENTRY)}
    return {state.world.positions[k].side, *entries}
