"""The door: which orders and cancellations the exchange takes at once, and how they go on.

What passes goes to the simulated exchange and is answered there later.
"""

from contextlib import suppress
from typing import Any

from bot.core.messages import PlaceOrder, Role
from bot.sim.full_exchange import Terms, Trigger
from ops.exchange.account import Account
from ops.exchange.names import decimal_text, order_id, wire_symbol
from ops.exchange.orders import WireOrder
from ops.exchange.refusal import RefusedError, bad_parameter
from ops.exchange.validation import (
    MAX_OPEN_ORDERS,
    MAX_STOP_ORDERS,
    Draft,
    check_band,
    read_draft,
    read_exits,
)

NOT_ONE_WAY = "The order's position mode does not match the account's"
NOT_HEDGED = "The order is in one-way mode, the account in hedge mode"
WRONG_MARGIN_MODE = (
    "The order's margin mode does not match the selected one. Please switch and try again."
)


def place(account: Account, body: dict[str, Any], now: int) -> WireOrder:
    """Take an order in, or raise RefusedError."""
    order = check(account, body, now)
    _send(account, order, now)
    return order


def place_with_exits(account: Account, body: dict[str, Any], now: int) -> WireOrder:
    """Take an order in that brings the stops of its position along, or raise RefusedError."""
    plain = {key: value for key, value in body.items() if key != "stopPriceType"}
    order = check(account, plain, now)
    order.exits = read_exits(body, account.exchange.specs[order.symbol])
    _send(account, order, now)
    return order


def place_exits(account: Account, order: WireOrder, now: int) -> None:
    """Send the stops that an order has brought along, now that it is over."""
    for leg in order.exits:
        body = {
            "clientOid": f"{order.order_id}-{leg.stop}",
            "symbol": wire_symbol(order.name),
            "type": "market",
            "closeOrder": True,
            "marginMode": order.margin_mode,
            "stop": leg.stop,
            "stopPrice": decimal_text(leg.price),
            "stopPriceType": leg.price_type,
        }
        # Nothing may be left to close by now: then there is nothing to place.
        with suppress(RefusedError):
            place(account, body, now)


def check(account: Account, body: dict[str, Any], now: int) -> WireOrder:
    """Return the order that a body asks for; raise RefusedError when it is not taken."""
    k = account.listing.index(body.get("symbol"))
    draft = read_draft(body, account.exchange.specs[k], account.ledger.marks[k])
    if draft.client_oid in account.order_ids:
        account.duplicates.append(draft.client_oid)
        raise RefusedError("300018", "clientOid parameter repeated")
    account.listing.check_open(k)
    _check_modes(account, draft, body.get("positionSide") or "BOTH", k)
    order = _order_of(account, draft, k, now)
    _check_counts(account, order)
    _check_margin(account, order)
    return order


def cancel(account: Account, order: WireOrder | None, now: int) -> WireOrder:
    """Ask the market to cancel an order; raise RefusedError when it is over."""
    if order is None or not order.live:
        raise RefusedError("100004", "The order cannot be canceled.")
    account.exchange.cancel(order.order_id, now)
    return order


def _check_modes(account: Account, draft: Draft, position_side: Any, k: int) -> None:
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise bad_parameter(f"positionSide: expected BOTH, LONG or SHORT, was {position_side!r}")
    if account.hedged and position_side == "BOTH":
        raise RefusedError("330012", NOT_HEDGED)
    if not account.hedged and position_side != "BOTH":
        raise RefusedError("330011", NOT_ONE_WAY)
    if draft.margin_mode != account.margin_modes[k]:
        raise RefusedError("330005", WRONG_MARGIN_MODE)


def _order_of(account: Account, draft: Draft, k: int, now: int) -> WireOrder:
    """Return the order that a draft becomes on this account."""
    held = account.ledger.held[k]
    side, size = draft.side, draft.size
    if draft.closing and held.side in (0, side):
        raise RefusedError("300009", "No open positions to close.")
    if draft.close_order:
        side, size = -held.side, int(held.contracts)
    elif draft.reduce_only and not draft.stop:
        size = min(size, int(held.contracts))
    if not draft.stop:
        check_band(side, draft.price, account.ledger.marks[k])
    # With cross margin the symbol's setting counts, not what the order says.
    cross = draft.margin_mode == "CROSS"
    account.numbered += 1
    return WireOrder(
        order_id=order_id(account.numbered),
        client_oid=draft.client_oid,
        symbol=k,
        name=account.listing.symbols[k],
        role=draft.role,
        kind=draft.kind,
        side=side,
        size=size,
        price=draft.price,
        leverage=account.cross_leverage[k] if cross else draft.leverage,
        margin_mode=draft.margin_mode,
        created_ms=now,
        reduce_only=draft.closing,
        close_order=draft.close_order,
        post_only=draft.post_only,
        time_in_force=draft.time_in_force,
        stop=draft.stop,
        stop_price=draft.stop_price,
        stop_price_type=draft.stop_price_type,
        hidden=draft.hidden,
        visible_size=draft.visible_size,
        remark=draft.remark,
    )


def _check_counts(account: Account, order: WireOrder) -> None:
    """Raise RefusedError when there are too many orders on a symbol."""
    same = [o for o in account.live.values() if o.symbol == order.symbol]
    stops = sum(1 for o in same if o.stop and not o.triggered)
    if order.stop and stops >= MAX_STOP_ORDERS:
        raise RefusedError("300004", f"Up to {MAX_STOP_ORDERS} stop orders per contract")
    if not order.stop and order.kind == "limit" and len(same) - stops >= MAX_OPEN_ORDERS:
        raise RefusedError("300001", f"Up to {MAX_OPEN_ORDERS} open orders per contract")


def _check_margin(account: Account, order: WireOrder) -> None:
    """Raise RefusedError when there is not enough money; stops and what closes need none."""
    if order.role is not Role.ENTRY or order.stop:
        return
    needed = account.cost(order)
    if needed > max(account.available(), 0.0):
        raise RefusedError("300003", f"Balance insufficient. The order cost is {needed:.4f} USDT")


def _send(account: Account, order: WireOrder, now: int) -> None:
    account.add(order)
    terms = Terms(
        rests=order.kind == "limit" and order.time_in_force == "GTC",
        post_only=order.post_only,
        closes=order.close_order,
    )
    price, role, trigger = _as_sent(order, account.ledger.held[order.symbol].side)
    sent = PlaceOrder(
        order.order_id, order.symbol, role, order.side, float(order.size), price, order.leverage
    )
    if trigger is None and role in (Role.EXIT, Role.STOP):
        account.exchange.submit(sent, now)
    else:
        account.exchange.send(sent, terms._replace(trigger=trigger), now)


def _as_sent(order: WireOrder, held: int) -> tuple[float, Role, Trigger | None]:
    """Return price, role and condition with which an order goes to the market.

    A reduce-only market order of a size that protects, on the mark price, is what the simulated
    exchange calls a stop; every other stop order waits for its condition.
    """
    if not order.stop:
        return order.price, order.role, None
    protects = order.stop == ("down" if held > 0 else "up") and not order.close_order
    on_mark = order.stop_price_type != "TP"  # the index (IP) is served as the mark
    if order.role is Role.STOP and order.kind == "market" and on_mark and protects:
        return order.stop_price, Role.STOP, None
    trigger = Trigger(order.stop == "up", order.stop_price, on_mark)
    if order.role is Role.ENTRY:
        return order.price, Role.ENTRY, trigger
    return order.price, Role.TARGET if order.kind == "limit" else Role.EXIT, trigger
