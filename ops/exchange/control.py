"""The control endpoint, on loopback only: what is true, what time it is, and what goes wrong.

JSON in and out; a wrong request is answered 400 with {"error": text}.
"""

import json
import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bot.core.errors import InputError
from bot.core.market import parse_symbol
from bot.core.observations import Takeover
from bot.sim.ledger import Held
from ops.exchange import door
from ops.exchange.names import decimal_text, wire_symbol
from ops.exchange.orders import true_view
from ops.exchange.refusal import RefusedError
from ops.exchange.wire import Wire

APP = "app"
"""begins the clientOids of orders that people place in the exchange's app"""
MOST = 1e15  # what a number has to be below; JSON as Python reads it knows NaN and Infinity
MOST_SHARE = 10.0  # of a position that a person closes
FAR = 0.5  # of the mark: where a foreign order never trades

DEEDS = ("close", "liquidate", "adl", "rest", "enter", "transfer", "cancel")
CHANGES = (
    "pause", "resume", "delist", "tick_size", "account", "margin_mode", "position_mode",
    "largest_order",
)  # fmt: skip
RIGHTS = ("withdrawal", "futures", "address")

type Action = Callable[[Wire, dict[str, Any]], Awaitable[Any]]


async def truth(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Return everything that is so, whatever the wire says."""
    now = wire.catch_up()
    account, market = wire.account, wire.market
    ledger = account.ledger
    return {
        "now_ms": now,
        "wallet": ledger.wallet,
        "equity": ledger.equity(),
        "depth": int(market.exchange.depth),
        "quote_ms": market.quote_ms,
        "orders": [true_view(order) for order in account.live.values()],
        "positions": [
            {
                "symbol": market.symbols[k],
                "side": held.side,
                "contracts": int(held.contracts),
                "entry_price": held.entry_price,
                "mark": ledger.marks[k],
                "leverage": held.leverage,
            }
            for k, held in enumerate(ledger.held)
            if held.side != 0
        ],
        "fills": [fill.true_view() for fill in account.statements.fills],
        "finished": [
            {
                "client_id": order.client_oid,
                "order_id": order.order_id,
                "filled": order.filled,
                "refusal": order.refusal,
            }
            for order in account.orders.values()
            if not order.live
        ],
        "funding": [
            {
                "id": str(record.number),
                "symbol": record.name,
                "amount": record.amount,
                "ms": record.ms,
            }
            for record in account.statements.funding
        ],
        "requests": dict(sorted(wire.requests.items())),
        "duplicates": list(account.duplicates),
        "sockets": [sorted(link.topics) for link in wire.hub.connections],
    }


async def advance(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Move a stepped clock."""
    if ("to_ms" in body) == ("by_ms" in body):
        raise InputError("advance: expected to_ms or by_ms")
    key = "to_ms" if "to_ms" in body else "by_ms"
    amount = body[key]
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise InputError(f"advance: {key}: expected whole milliseconds, was {amount!r}")
    return {"now_ms": await wire.advance(amount + (wire.now() if key == "by_ms" else 0))}


async def list_faults(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Return every fault with how often it has fired."""
    return {"faults": wire.faults.describe()}


async def add_faults(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Switch faults on; return their ids."""
    specs = body.get("faults")
    if not isinstance(specs, list):
        raise InputError("faults: expected a list")
    try:
        return {"ids": [wire.faults.add(spec) for spec in specs]}
    except ValueError as error:
        raise InputError(str(error)) from None


async def clear_faults(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Switch every fault off."""
    wire.faults.clear()
    return {}


async def outside(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Do what a person, another program or the exchange does to the account."""
    now = wire.catch_up()
    what = _one_of(body, "do", DEEDS)
    if what == "transfer":
        wire.account.transfer(_number(body, "amount"), now, "Transferred from Trading Account")
    elif what == "cancel":
        door.cancel(wire.account, wire.account.find_client(str(body.get("client_id"))), now)
    elif what == "liquidate":
        k = _symbol(wire, body)
        _held(wire, k)
        wire.market.exchange.liquidate(k)
    elif what == "adl":
        k = _symbol(wire, body)
        wire.market.exchange.take(k, _share(body, _held(wire, k)), Takeover.ADL)
    else:
        wish = _by_hand(wire, body, _symbol(wire, body))
        order = door.place(wire.account, wish, now)
        wire.catch_up()
        return {"client_id": order.client_oid, "order_id": order.order_id}
    wire.catch_up()
    return {}


def _held(wire: Wire, k: int) -> Held:
    """Return the position that something is done to."""
    held = wire.account.ledger.held[k]
    if held.side == 0:
        raise InputError("expected a position, was none")
    return held


def _share(body: dict[str, Any], held: Held, most: float = 1.0) -> float:
    """Return how many contracts of a position are meant; all of them unless `share` is given. More
    than 1 is at least one more than there are."""
    share = _number(body, "share", 1.0)
    if not 0.0 < share <= most:
        raise InputError(f"share: expected more than 0, {most:g} at most, was {share:g}")
    return max(held.contracts + 1.0 if share > 1.0 else 1.0, math.floor(held.contracts * share))


def _by_hand(wire: Wire, body: dict[str, Any], k: int) -> dict[str, Any]:
    """Return the body of the order with which a person does something."""
    held, mark = wire.account.ledger.held[k], wire.account.ledger.marks[k]
    spec = wire.market.exchange.specs[k]
    wish: dict[str, Any] = {
        "clientOid": f"{APP}{wire.account.numbered + 1}",
        "symbol": wire_symbol(wire.market.symbols[k]),
        "marginMode": wire.account.margin_modes[k],
        "leverage": held.leverage if held.side != 0 else min(10.0, spec.max_leverage),
    }
    match body.get("do"):
        case "close":
            # Whoever closes more than is held opens a position on the other side with the rest.
            size = int(_share(body, held, MOST_SHARE))
            side, most = "sell" if held.side > 0 else "buy", max(held.contracts, 1.0)
            wish |= {"type": "market", "side": side, "size": size}
            return wish | {"reduceOnly": size <= most}
        case "rest":
            # On the side of the position: what could close it would go when it has gone.
            far, side = (FAR, "buy") if held.side >= 0 else (1.0 / FAR, "sell")
            price = round(mark * far / spec.tick) * spec.tick
            text = decimal_text(round(price, 10))
            return wish | {"type": "limit", "side": side, "size": 1, "price": text}
        case _:  # enter
            words = {"1": "buy", "-1": "sell"}
            wanted = words.get(str(body.get("side")), body.get("side"))
            return wish | {"type": "market", "side": wanted, "size": body.get("contracts", 1)}


async def change_market(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Change what the market or the account is."""
    wire.catch_up()
    account, market = wire.account, wire.market
    match _one_of(body, "do", (*CHANGES, *RIGHTS)):
        case "pause":
            market.pause(_symbol(wire, body))
        case "resume":
            market.resume(_symbol(wire, body))
        case "delist":
            _delist(wire, _symbol(wire, body))
        case "tick_size":
            market.set_tick(_symbol(wire, body), _number(body, "tick"))
        case "largest_order":
            market.set_largest_order(_symbol(wire, body), _number(body, "contracts"))
        case "account":
            wire.account_mode = _one_of(body, "mode", ("UNIFIED", "CLASSIC"))
        case "margin_mode":
            mode = _one_of(body, "mode", ("ISOLATED", "CROSS"))
            account.margin_modes[_symbol(wire, body)] = mode
        case "position_mode":
            account.hedged = bool(_one_of(body, "mode", (0, 1)))
        case right:
            setattr(wire.rights, right, _one_of(body, "enabled", (True, False)))
    return {}


def _delist(wire: Wire, k: int) -> None:
    now = wire.now()
    for order in list(wire.account.live.values()):
        if order.symbol == k:
            door.cancel(wire.account, order, now)
    wire.market.delist(k)
    wire.catch_up()


async def reset(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Begin anew: another account on the same market from its start."""
    await wire.reset(body)
    return {"now_ms": wire.now()}


def _symbol(wire: Wire, body: dict[str, Any]) -> int:
    name = body.get("symbol")
    if isinstance(name, str):
        found = name if name in wire.market.wire else wire_symbol(parse_symbol(name))
        if found in wire.market.wire:
            return wire.market.wire[found]
    raise InputError(f"symbol: expected one of {', '.join(wire.market.symbols)}, was {name!r}")


def _number(body: dict[str, Any], key: str, default: float | None = None) -> float:
    value: Any = body.get(key, default)
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not abs(value) < MOST:
        raise InputError(f"{key}: expected a number, was {value!r}")
    return float(value)


def _one_of[T: (str, int, bool)](body: dict[str, Any], key: str, allowed: tuple[T, ...]) -> T:
    value = body.get(key)
    for one in allowed:
        if one == value and isinstance(one, bool) == isinstance(value, bool):  # 1 is no true
            return one
    raise InputError(f"{key}: expected one of {', '.join(map(str, allowed))}, was {value!r}")


ACTIONS: list[tuple[str, str, Action]] = [
    ("GET", "/control/truth", truth),
    ("POST", "/control/advance", advance),
    ("GET", "/control/faults", list_faults),
    ("POST", "/control/faults", add_faults),
    ("DELETE", "/control/faults", clear_faults),
    ("POST", "/control/outside", outside),
    ("POST", "/control/market", change_market),
    ("POST", "/control/reset", reset),
]


def control_app(wire: Wire) -> web.Application:
    """Return the control listener's application."""
    app = web.Application()
    for method, path, action in ACTIONS:
        app.router.add_route(method, path, _answering(wire, action))
    return app


def _answering(wire: Wire, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read() or b"{}")
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            return web.json_response({"error": "expected a JSON object"}, status=400)
        try:
            return web.json_response(await action(wire, body))
        except (InputError, RefusedError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return answer
