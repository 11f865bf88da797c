"""What a body of `POST /api/v1/orders` must be, and which order it asks for.

The checks are those that KuCoin answers at once, with its codes; what the market says later comes
as an event of the order.
"""

import re
from dataclasses import dataclass
from typing import Any

from bot.core.kernel.params import Spec
from bot.core.messages import Role
from bot.sim.book import on_tick
from ops.exchange.orders import AttachedExit
from ops.exchange.refusal import RefusedError, bad_parameter

CLIENT_OID = re.compile(r"[A-Za-z0-9_-]{1,40}")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
PRICE_BAND = 0.05  # of the mark price
MAX_SIZE = 1_000_000  # contracts of one order
MAX_PRICE = 1_000_000.0  # USDT; every contract says the same
MAX_OPEN_ORDERS = 100  # limit orders of one contract
MAX_STOP_ORDERS = 200
STOP_PRICE_TYPES = ("TP", "MP", "IP")
MARGIN_MODES = ("ISOLATED", "CROSS")


@dataclass(frozen=True, slots=True)
class Draft:
    """A request that can be read; whether the account allows it is asked afterwards."""

    client_oid: str
    kind: str
    side: int
    """0: a closeOrder works it out"""
    size: int
    """0: a closeOrder works it out"""
    price: float
    leverage: float
    margin_mode: str
    reduce_only: bool
    close_order: bool
    post_only: bool
    time_in_force: str
    stop: str
    stop_price: float
    stop_price_type: str
    hidden: bool
    visible_size: int
    """of an iceberg, which shows so many contracts; 0: it is none"""
    remark: str | None

    @property
    def closing(self) -> bool:
        return self.reduce_only or self.close_order

    @property
    def role(self) -> Role:
        return role_of_fields(self.kind == "limit", bool(self.stop), self.closing)


def role_of_fields(limit: bool, stop: bool, closing: bool) -> Role:
    """Return what an order is for, from its fields alone."""
    if not closing:
        return Role.ENTRY
    if stop:
        return Role.STOP
    return Role.TARGET if limit else Role.EXIT


def role_of_request(body: dict[str, Any] | None) -> str | None:
    """Return the role of the order in a request's body, None where there is none."""
    if body is not None and "symbol" in body and ("side" in body or "closeOrder" in body):
        closing = bool(body.get("reduceOnly") or body.get("closeOrder"))
        return role_of_fields(body.get("type", "limit") == "limit", "stop" in body, closing).value
    return None


def read_draft(body: dict[str, Any], spec: Spec, mark: float) -> Draft:
    """Return the order that a body asks for; raise RefusedError when it makes no sense."""
    close_order = _flag(body, "closeOrder")
    kind = body.get("type", "limit")
    if kind not in ("limit", "market"):
        raise bad_parameter(f"type: expected limit or market, was {kind!r}")
    price = number(body, "price") if kind == "limit" else 0.0
    if kind == "limit":
        check_price(price, "price", spec)
    stop, stop_price, stop_price_type = _read_stop(body, spec)
    time_in_force = body.get("timeInForce", "GTC")
    if time_in_force not in ("GTC", "IOC"):
        raise bad_parameter(f"timeInForce: expected GTC or IOC, was {time_in_force!r}")
    reduce_only = _flag(body, "reduceOnly")
    size = 0 if close_order else _size(body, spec, price or mark)
    post_only = _flag(body, "postOnly") and time_in_force != "IOC"
    hidden, visible_size = _read_display(body, size, post_only=post_only)
    remark = body.get("remark")
    return Draft(
        client_oid=_client_oid(body),
        kind=kind,
        side=0 if close_order else _side(body),
        size=size,
        price=price,
        leverage=_leverage(body, spec, reduce_only or close_order),
        margin_mode=_margin_mode(body),
        reduce_only=reduce_only,
        close_order=close_order,
        post_only=post_only,
        time_in_force=time_in_force,
        stop=stop,
        stop_price=stop_price,
        stop_price_type=stop_price_type,
        hidden=hidden,
        visible_size=visible_size,
        remark=None if remark is None else str(remark)[:100],
    )


def read_exits(body: dict[str, Any], spec: Spec) -> tuple[AttachedExit, ...]:
    """Return the stops that a body of `st-orders` brings along; up is above the market."""
    kind = body.get("stopPriceType")
    exits = []
    for stop, key in (("up", "triggerStopUpPrice"), ("down", "triggerStopDownPrice")):
        if body.get(key) is not None:
            price = number(body, key)
            check_price(price, key, spec)
            exits.append(AttachedExit(stop, price, str(kind)))
    if not exits or kind not in STOP_PRICE_TYPES:
        raise bad_parameter("expected triggerStopUpPrice or -DownPrice, and stopPriceType")
    return tuple(exits)


def check_band(side: int, price: float, mark: float) -> None:
    """Raise RefusedError when a limit price is beyond the mark by more than the band."""
    if mark <= 0.0 or price <= 0.0:
        return
    if side > 0 and price > mark * (1.0 + PRICE_BAND):
        raise RefusedError("300011", f"Order price cannot be above {mark * (1.0 + PRICE_BAND):.8g}")
    if side < 0 and price < mark * (1.0 - PRICE_BAND):
        raise RefusedError("300012", f"Order price cannot be below {mark * (1.0 - PRICE_BAND):.8g}")


def number(body: dict[str, Any], key: str) -> float:
    """Return a number that may come as text; raise RefusedError when it is none."""
    value: Any = body.get(key)
    # Python would also read "1_0", " 5 " and digits of other scripts.
    text = isinstance(value, str) and NUMBER.fullmatch(value)
    if text or (isinstance(value, int | float) and not isinstance(value, bool)):
        try:
            found = float(value)
        except OverflowError:  # a JSON integer may have any length
            found = float("nan")
        if abs(found) < 1e15:
            return found
    raise bad_parameter(f"{key}: expected a number, was {value!r}")


def check_price(price: float, key: str, spec: Spec) -> None:
    """Raise RefusedError when a price is above the contract's highest, or not on the grid."""
    if price <= 0.0:
        raise bad_parameter(f"{key}: expected a price above 0, was {price!r}")
    if price > MAX_PRICE:
        raise RefusedError("300011", f"{key} cannot be above {MAX_PRICE:.8g}")
    if not on_tick(price, spec):
        raise bad_parameter(f"{key}: expected a multiple of the tick size, was {price!r}")


def _client_oid(body: dict[str, Any]) -> str:
    given = body.get("clientOid")
    if not isinstance(given, str) or not CLIENT_OID.fullmatch(given):
        raise bad_parameter(f"clientOid: expected 1 to 40 of A-Z a-z 0-9 _ -, was {given!r}")
    return given


def _side(body: dict[str, Any]) -> int:
    side = body.get("side")
    if side not in ("buy", "sell"):
        raise bad_parameter(f"side: expected buy or sell, was {side!r}")
    return 1 if side == "buy" else -1


def largest_order(spec: Spec, *, limit: bool) -> int:
    """Return how many contracts one order may have: at the market often fewer than at a limit."""
    return int(min(MAX_SIZE, spec.max_contracts)) if spec.max_contracts and not limit else MAX_SIZE


def _size(body: dict[str, Any], spec: Spec, price: float) -> int:
    given = [key for key in ("size", "qty", "valueQty") if body.get(key) is not None]
    if len(given) != 1:
        raise bad_parameter("expected one of size, qty and valueQty")
    value = number(body, given[0])
    if given[0] == "qty":
        value = round(value / spec.multiplier, 9)
    elif given[0] == "valueQty":
        value = float(int(value / (spec.multiplier * price))) if price > 0.0 else 0.0
    most = largest_order(spec, limit=body.get("type", "limit") == "limit")
    if not 1.0 <= value <= most or value != int(value):
        raise bad_parameter(f"size: expected a whole number from 1 to {most}, was {value:g}")
    return int(value)


def _leverage(body: dict[str, Any], spec: Spec, closing: bool) -> float:
    if body.get("leverage") is None:
        if closing:
            return 1.0
        raise bad_parameter("leverage: expected a number, was missing")
    leverage = number(body, "leverage")
    if leverage < 1.0:
        raise bad_parameter(f"leverage: expected at least 1, was {leverage:g}")
    if leverage > spec.max_leverage:
        raise RefusedError("300016", f"The leverage cannot be greater than {spec.max_leverage:g}")
    return leverage


def _margin_mode(body: dict[str, Any]) -> str:
    mode = body.get("marginMode") or "ISOLATED"
    if mode not in MARGIN_MODES:
        raise bad_parameter(f"marginMode: expected ISOLATED or CROSS, was {mode!r}")
    return str(mode)


def _read_stop(body: dict[str, Any], spec: Spec) -> tuple[str, float, str]:
    stop = body.get("stop") or ""
    if not stop:
        if body.get("stopPrice") is not None:
            raise bad_parameter("stop: expected up or down with stopPrice, was missing")
        return "", 0.0, ""
    if stop not in ("up", "down"):
        raise bad_parameter(f"stop: expected up or down, was {stop!r}")
    stop_price = number(body, "stopPrice")
    check_price(stop_price, "stopPrice", spec)
    kind = body.get("stopPriceType")
    if kind not in STOP_PRICE_TYPES:
        raise bad_parameter(f"stopPriceType: expected TP, MP or IP, was {kind!r}")
    return str(stop), stop_price, str(kind)


def _read_display(body: dict[str, Any], size: int, *, post_only: bool) -> tuple[bool, int]:
    """Return whether an order is hidden, and how much of an iceberg shows; 0 for no iceberg."""
    hidden, iceberg = _flag(body, "hidden"), _flag(body, "iceberg")
    if post_only and (hidden or iceberg):
        raise bad_parameter("postOnly: expected neither hidden nor iceberg with it")
    if not iceberg:
        return hidden, 0
    visible = number(body, "visibleSize")
    if visible != int(visible) or visible < 1.0 or (size and visible > size):
        raise bad_parameter(f"visibleSize: expected contracts of the order, was {visible:g}")
    return hidden, int(visible)


def _flag(body: dict[str, Any], key: str) -> bool:
    value = body.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise bad_parameter(f"{key}: expected true or false, was {value!r}")
