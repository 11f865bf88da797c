"""Our orders as KuCoin wants them: every field that has a default on the exchange is written out.

Left to ccxt or the exchange, an order would carry leverage 1, a random client id, and a stop whose
direction is guessed (reference of the wire, sections 5 and 9).
"""

import math
from decimal import Decimal
from typing import Any

from bot.core.errors import InvariantError
from bot.core.market import ContractSpec
from bot.core.messages import PlaceOrder, Role

type Body = dict[str, Any]


def order_body(order: PlaceOrder, wire_symbol: str, spec: ContractSpec) -> Body:
    """Return the JSON body of POST /api/v1/orders.

    Entries are IOC limits, exits market, stops stop-market on the mark price, targets resting
    limits; all but entries are reduce-only.

    Raises
    ------
    InvariantError : contracts that are not whole, or a price that is not on the grid
    """
    if order.contracts < 1.0 or order.contracts != math.floor(order.contracts):
        raise InvariantError(f"expected whole contracts, was {order.contracts!r}")
    body: Body = {
        "clientOid": order.client_id,
        "symbol": wire_symbol,
        "side": "buy" if order.side > 0 else "sell",
        "size": int(order.contracts),
        "leverage": number(order.leverage),
        "marginMode": "ISOLATED",
    }
    if order.reduce_only:
        body["reduceOnly"] = True
    if order.role is Role.ENTRY:
        body |= {"type": "limit", "price": price_text(order.price, spec), "timeInForce": "IOC"}
    elif order.role is Role.TARGET:
        body |= {"type": "limit", "price": price_text(order.price, spec), "timeInForce": "GTC"}
    elif order.role is Role.EXIT:
        body["type"] = "market"
    else:
        body |= {
            "type": "market",
            "stop": "up" if order.side > 0 else "down",
            "stopPrice": price_text(order.price, spec),
            "stopPriceType": "MP",
        }
    return body


def close_body(client_id: str, wire_symbol: str) -> Body:
    """Return the body of an order that closes whatever is held of a contract: the exchange works
    out side and size. For where nobody knows them; where nothing is held it is refused."""
    return {
        "clientOid": client_id,
        "symbol": wire_symbol,
        "type": "market",
        "closeOrder": True,
        "marginMode": "ISOLATED",
    }


def price_text(price: float, spec: ContractSpec) -> str:
    """Return a price with the decimals of the contract's tick.

    >>> price_text(60000.1, ContractSpec("BTC-USDT-PERP", 0.001, 0.1))
    '60000.1'
    """
    tick = Decimal(repr(spec.tick))
    exact = (Decimal(repr(price)) / tick).to_integral_value() * tick
    if abs(float(exact) - price) > 1e-6 * spec.tick:
        raise InvariantError(f"{spec.symbol}: expected a multiple of {spec.tick}, was {price!r}")
    return format(exact, "f")


def number(value: float) -> float | int:
    """Return a whole number without a fraction, as KuCoin writes leverage.

    >>> number(8.0), number(2.5)
    (8, 2.5)
    """
    return int(value) if value == math.floor(value) else value
