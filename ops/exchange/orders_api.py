"""The signed side: placing, cancelling and reading orders and fills."""

from typing import Any

from ops.exchange import door
from ops.exchange.calls import DAY_MS, Call, Route, page
from ops.exchange.limits import Pool
from ops.exchange.names import decimal_text, short
from ops.exchange.orders import WireOrder, order_view
from ops.exchange.refusal import RefusedError, bad_parameter
from ops.exchange.statements import Fill
from ops.exchange.wire import Wire

MOST_AT_ONCE = 20  # orders of one POST orders/multi
MOST_RECENT = 1_000
MOST_SPAN_MS = 7 * DAY_MS  # of what is over, in one answer


def place(wire: Wire, call: Call) -> Any:
    """POST /api/v1/orders"""
    return _placed(door.place(wire.account, call.fields(), call.now))


def place_test(wire: Wire, call: Call) -> Any:
    """POST /api/v1/orders/test"""
    return _placed(door.check(wire.account, call.fields(), call.now))


def place_many(wire: Wire, call: Call) -> Any:
    """POST /api/v1/orders/multi: each order is taken or refused by itself."""
    bodies = call.body
    if not isinstance(bodies, list) or not 1 <= len(bodies) <= MOST_AT_ONCE:
        raise bad_parameter(f"expected a list of 1 to {MOST_AT_ONCE} orders")
    results = []
    for body in bodies:
        fields = body if isinstance(body, dict) else {}
        shown = {"clientOid": fields.get("clientOid"), "symbol": fields.get("symbol")}
        try:
            done = {**_placed(door.place(wire.account, fields, call.now)), "code": "200000"}
            results.append({**shown, **done, "msg": "success"})
        except RefusedError as refusal:
            said = {"orderId": None, "code": refusal.code, "msg": refusal.message}
            results.append({**shown, **said})
    return results


def place_with_exits(wire: Wire, call: Call) -> Any:
    """POST /api/v1/st-orders"""
    return _placed(door.place_with_exits(wire.account, call.fields(), call.now))


def cancel(wire: Wire, call: Call) -> Any:
    """DELETE /api/v1/orders/{order_id}"""
    order = door.cancel(wire.account, wire.account.find(call.text("order_id")), call.now)
    return {"cancelledOrderIds": [order.order_id]}


def cancel_client(wire: Wire, call: Call) -> Any:
    """DELETE /api/v1/orders/client-order/{client_oid}"""
    named = _named(wire, call.params.get("symbol"), call.text("client_oid"))
    order = door.cancel(wire.account, named, call.now)
    return {"clientOid": order.client_oid}


def cancel_many(wire: Wire, call: Call) -> Any:
    """DELETE /api/v1/orders/multi-cancel, with a body"""
    fields, account = call.fields(), wire.account
    ids, named = fields.get("orderIdsList") or [], fields.get("clientOidsList") or []
    if not isinstance(ids, list) or not isinstance(named, list):
        raise bad_parameter("orderIdsList and clientOidsList: expected lists")
    asked: list[tuple[str | None, str | None, WireOrder | None]] = []
    asked += [(str(name), None, account.find(str(name))) for name in ids]
    for entry in named:
        wanted = entry if isinstance(entry, dict) else {}
        name = str(wanted.get("clientOid"))
        asked.append((None, name, _named(wire, wanted.get("symbol"), name)))
    if not asked:
        raise bad_parameter("expected orderIdsList or clientOidsList")
    results = []
    for order_id, client_oid, order in asked:
        code, msg = "200", "success"
        try:
            door.cancel(account, order, call.now)
        except RefusedError as refusal:
            code, msg = refusal.code, refusal.message
        results.append({"orderId": order_id, "clientOid": client_oid, "code": code, "msg": msg})
    return results


def cancel_all(wire: Wire, call: Call) -> Any:
    """DELETE /api/v1/orders: all but the stops that have not been triggered"""
    return _cancel_all(wire, call, _symbol(wire, call), stops=False)


def cancel_all_of_symbol(wire: Wire, call: Call) -> Any:
    """DELETE /api/v3/orders"""
    return _cancel_all(wire, call, wire.market.index(call.params.get("symbol")), stops=False)


def cancel_stops(wire: Wire, call: Call) -> Any:
    """DELETE /api/v1/stopOrders"""
    return _cancel_all(wire, call, _symbol(wire, call), stops=True)


def order(wire: Wire, call: Call) -> Any:
    """GET /api/v1/orders/{order_id}"""
    return _shown(wire, wire.account.find(call.text("order_id")))


def order_by_client(wire: Wire, call: Call) -> Any:
    """GET /api/v1/orders/byClientOid"""
    return _shown(wire, wire.account.find_client(call.text("clientOid")))


def orders(wire: Wire, call: Call) -> Any:
    """GET /api/v1/orders: status active or done, newest first"""
    wanted = call.params.get("status", "done")
    if wanted not in ("active", "done"):
        raise bad_parameter(f"status: expected active or done, was {wanted!r}")
    found = [o for o in wire.account.orders.values() if o.listed and o.live == (wanted == "active")]
    if wanted == "done" and {"startAt", "endAt"} & call.params.keys():
        start, end = _span(call)
        found = [o for o in found if start <= o.created_ms <= end]
    return page(call, _views(wire, _filtered(wire, call, found)))


def stop_orders(wire: Wire, call: Call) -> Any:
    """GET /api/v1/stopOrders: those that have not been triggered, newest first"""
    found = [o for o in wire.account.live.values() if o.readable and not o.listed]
    return page(call, _views(wire, _filtered(wire, call, found)))


def recent_done(wire: Wire, call: Call) -> Any:
    """GET /api/v1/recentDoneOrders: of the last 24 hours, newest first"""
    since = call.now - DAY_MS
    found = [
        o for o in wire.account.orders.values() if o.listed and not o.live and o.end_ms >= since
    ]
    return _views(wire, _filtered(wire, call, found))[:MOST_RECENT]


def statistics(wire: Wire, call: Call) -> Any:
    """GET /api/v1/openOrderStatistics"""
    k = wire.market.index(call.params.get("symbol"))
    spec = wire.market.exchange.specs[k]
    sums = {1: (0, 0.0), -1: (0, 0.0)}
    for found in wire.account.live.values():
        if found.symbol == k and found.listed:
            size, cost = sums[found.side]
            value = found.left * spec.multiplier * found.price
            sums[found.side] = (size + found.left, cost + value)
    return {
        "openOrderBuySize": sums[1][0],
        "openOrderSellSize": sums[-1][0],
        "openOrderBuyCost": decimal_text(short(sums[1][1])),
        "openOrderSellCost": decimal_text(short(sums[-1][1])),
        "settleCurrency": "USDT",
    }


def fills(wire: Wire, call: Call) -> Any:
    """GET /api/v1/fills, newest first: of an order, or of at most seven days"""
    found = _listed_fills(wire, call)
    if not call.params.get("orderId"):
        start, end = _span(call)
        found = [fill for fill in found if start <= fill.ms <= end]
    return page(call, [fill.view() for fill in reversed(_filtered_fills(wire, call, found))])


def recent_fills(wire: Wire, call: Call) -> Any:
    """GET /api/v1/recentFills: of the last 24 hours, newest first"""
    since = call.now - DAY_MS
    found = [fill for fill in _listed_fills(wire, call) if fill.ms >= since]
    rows = [fill.view() for fill in reversed(_filtered_fills(wire, call, found))]
    return rows[:MOST_RECENT]


def _span(call: Call) -> tuple[int, int]:
    """Return the times of what is over: an open end is a day from the other one; without any, the
    last day."""
    start, end = call.integer("startAt"), call.integer("endAt")
    if start is None:
        start = (call.now if end is None else end) - DAY_MS
    if end is None:
        end = start + DAY_MS
    if end - start > MOST_SPAN_MS:
        raise bad_parameter("The time range of startAt and endAt cannot exceed 7 days")
    return start, end


def _placed(taken: WireOrder) -> dict[str, str]:
    return {"orderId": taken.order_id, "clientOid": taken.client_oid}


def _shown(wire: Wire, found: WireOrder | None) -> dict[str, Any]:
    if found is None or not found.readable:
        raise RefusedError("100001", "error.getOrder.orderNotExist")
    return order_view(found, wire.market.exchange.specs[found.symbol])


def _named(wire: Wire, symbol: object, client_oid: str) -> WireOrder | None:
    """Return the order of a contract by its clientOid; one of another contract is none."""
    k, found = wire.market.index(symbol), wire.account.find_client(client_oid)
    return found if found is not None and found.symbol == k else None


def _symbol(wire: Wire, call: Call) -> int | None:
    name = call.params.get("symbol")
    return wire.market.index(name) if name else None


def _cancel_all(wire: Wire, call: Call, k: int | None, *, stops: bool) -> dict[str, list[str]]:
    gone = []
    for found in list(wire.account.live.values()):
        waits = bool(found.stop) and not found.triggered
        if found.readable and waits == stops and k in (None, found.symbol):
            gone.append(door.cancel(wire.account, found, call.now).order_id)
    return {"cancelledOrderIds": gone}


def _filtered(wire: Wire, call: Call, found: list[WireOrder]) -> list[WireOrder]:
    """Return what symbol, side, type and time ask for, newest first."""
    k = _symbol(wire, call)
    side = {"buy": 1, "sell": -1}.get(call.params.get("side", ""))
    kinds = call.params.get("type", "").removesuffix("_stop")
    start, end = call.window("startAt", "endAt")
    return [
        o
        for o in reversed(found)
        if k in (None, o.symbol)
        and side in (None, o.side)
        and kinds in ("", o.kind)
        and start <= o.created_ms <= end
    ]


def _listed_fills(wire: Wire, call: Call) -> list[Fill]:
    """Return all fills that are on the lists by now, oldest first."""
    latest = call.now - wire.faults.late_ms("late_fills")
    return [fill for fill in wire.account.statements.fills if fill.ms <= latest]


def _filtered_fills(wire: Wire, call: Call, found: list[Fill]) -> list[Fill]:
    """Return what symbol, order and side ask for, oldest first."""
    k = _symbol(wire, call)
    name = None if k is None else wire.market.symbols[k]
    side = {"buy": 1, "sell": -1}.get(call.params.get("side", ""))
    order_id = call.params.get("orderId") or None
    return [
        fill
        for fill in found
        if name in (None, fill.name)
        and side in (None, fill.side)
        and order_id in (None, fill.order_id)
    ]


def _views(wire: Wire, found: list[WireOrder]) -> list[dict[str, Any]]:
    return [order_view(o, wire.market.exchange.specs[o.symbol]) for o in found]


ROUTES = [
    Route("POST", "/api/v1/orders", place, Pool.FUTURES, 2),
    Route("POST", "/api/v1/orders/test", place_test, Pool.FUTURES, 2),
    Route("POST", "/api/v1/orders/multi", place_many, Pool.FUTURES, 20),
    Route("POST", "/api/v1/st-orders", place_with_exits, Pool.FUTURES, 2),
    Route("DELETE", "/api/v1/orders/multi-cancel", cancel_many, Pool.FUTURES, 20),
    Route("DELETE", "/api/v1/orders/client-order/{client_oid}", cancel_client, Pool.FUTURES, 1),
    Route("DELETE", "/api/v1/orders/{order_id}", cancel, Pool.FUTURES, 1),
    Route("DELETE", "/api/v1/orders", cancel_all, Pool.FUTURES, 800),
    Route("DELETE", "/api/v3/orders", cancel_all_of_symbol, Pool.FUTURES, 10),
    Route("DELETE", "/api/v1/stopOrders", cancel_stops, Pool.FUTURES, 15),
    Route("GET", "/api/v1/orders/byClientOid", order_by_client, Pool.FUTURES, 5),
    Route("GET", "/api/v1/orders/{order_id}", order, Pool.FUTURES, 5),
    Route("GET", "/api/v1/orders", orders, Pool.FUTURES, 2),
    Route("GET", "/api/v1/stopOrders", stop_orders, Pool.FUTURES, 6),
    Route("GET", "/api/v1/recentDoneOrders", recent_done, Pool.FUTURES, 5),
    Route("GET", "/api/v1/openOrderStatistics", statistics, Pool.FUTURES, 10),
    Route("GET", "/api/v1/fills", fills, Pool.FUTURES, 5),
    Route("GET", "/api/v1/recentFills", recent_fills, Pool.FUTURES, 3),
]
