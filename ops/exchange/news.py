"""What the sockets are told about the account: the shapes of the private topics."""

from typing import Any, Protocol

from ops.exchange.names import decimal_text, nanoseconds, short, side_word, wire_symbol
from ops.exchange.orders import WireOrder
from ops.exchange.statements import Fill

ORDERS = "/contractMarket/tradeOrders"
STOPS = "/contractMarket/advancedOrders"
WALLET = "/contractAccount/wallet"
POSITION = "/contract/position"


class Publish(Protocol):
    """How a message gets to whoever has subscribed to a topic; it never blocks."""

    def __call__(
        self, topic: str, subject: str, data: dict[str, Any], *, private: bool
    ) -> object: ...


def silent(topic: str, subject: str, data: dict[str, Any], *, private: bool) -> None:
    """Tell nobody."""


def order_change(
    order: WireOrder, type_: str, now: int, fill: Fill | None = None
) -> dict[str, Any]:
    """Return an event of `tradeOrders`; `type_` is open, match, filled, canceled or update."""
    left = 0 if type_ in ("filled", "canceled") else order.size - order.filled
    status = {"match": "match", "filled": "done", "canceled": "done"}.get(type_, "open")
    if fill is not None and fill.maker:
        status = "open"
    data: dict[str, Any] = {
        "symbol": wire_symbol(order.name),
        "orderType": order.kind,
        "side": side_word(order.side),
        "canceledSize": str(order.size - order.filled if type_ == "canceled" else 0),
        "orderId": order.order_id,
        "clientOid": order.client_oid,
        "positionSide": "BOTH",
        "liquidity": "",
        "marginMode": order.margin_mode,
        "type": type_,
        "status": status,
        "orderTime": nanoseconds(order.created_ms),
        "size": str(order.size),
        "filledSize": str(order.filled),
        "price": decimal_text(order.price) if order.kind == "limit" else "0",
        "remainSize": str(left),
        "tradeType": "trade",
        "ts": nanoseconds(now),
    }
    if fill is not None:
        data |= {
            "matchPrice": decimal_text(fill.price),
            "matchSize": str(fill.contracts),
            "tradeId": fill.trade_id,
            "liquidity": "maker" if fill.maker else "taker",
            "feeType": "makerFee" if fill.maker else "takerFee",
            "tradeType": fill.trade_type,
        }
    return data


def liquidation_change(fill: Fill) -> dict[str, Any]:
    """Return the event of `tradeOrders` for a position that the exchange took over."""
    return {
        "symbol": wire_symbol(fill.name),
        "orderType": "market",
        "side": side_word(fill.side),
        "canceledSize": "0",
        "orderId": fill.order_id,
        "clientOid": "",
        "positionSide": "BOTH",
        "liquidity": "taker",
        "marginMode": fill.margin_mode,
        "type": "match",
        "status": "match",
        "orderTime": nanoseconds(fill.ms),
        "size": str(fill.contracts),
        "filledSize": str(fill.contracts),
        "price": decimal_text(fill.price),
        "remainSize": "0",
        "matchPrice": decimal_text(fill.price),
        "matchSize": str(fill.contracts),
        "tradeId": fill.trade_id,
        "feeType": "takerFee",
        "tradeType": fill.trade_type,
        "ts": nanoseconds(fill.ms),
    }


def stop_change(order: WireOrder, type_: str, now: int, error: str = "") -> dict[str, Any]:
    """Return an event of `advancedOrders`; `type_` is open, triggered or cancel."""
    data: dict[str, Any] = {
        "createdAt": order.created_ms,
        "marginMode": order.margin_mode,
        "orderId": order.order_id,
        "orderPrice": decimal_text(order.price) if order.kind == "limit" else "0",
        "orderType": "stop",
        "positionSide": "BOTH",
        "side": side_word(order.side),
        "size": order.size,
        "stop": order.stop,
        "stopPrice": decimal_text(order.stop_price),
        "stopPriceType": order.stop_price_type,
        "symbol": wire_symbol(order.name),
        "ts": nanoseconds(now),
        "type": type_,
    }
    if type_ == "triggered":
        data |= {"triggerSuccess": not error, "error": error or None}
    return data


def wallet_change(overview: dict[str, Any], version: int, now: int) -> dict[str, Any]:
    """Return an event of the wallet topic from an account overview."""

    def text(key: str) -> str:
        return decimal_text(short(overview[key]))

    unrealised = text("unrealisedPNL")
    isolated = overview["positionMargin"] - overview["unrealisedPNL"]
    return {
        "crossPosMargin": "0",
        "isolatedOrderMargin": text("orderMargin"),
        "holdBalance": text("frozenFunds"),
        "equity": text("accountEquity"),
        "version": str(version),
        "availableBalance": text("availableBalance"),
        "isolatedPosMargin": decimal_text(short(isolated)),
        "maxWithdrawAmount": text("maxWithdrawAmount"),
        "walletBalance": text("marginBalance"),
        "isolatedFundingFeeMargin": "0",
        "crossUnPnl": "0",
        "totalCrossMargin": text("availableBalance"),
        "currency": overview["currency"],
        "isolatedUnPnl": unrealised,
        "availableMargin": text("availableBalance"),
        "crossOrderMargin": "0",
        "timestamp": str(now),
    }
