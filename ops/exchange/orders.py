"""One order as the wire knows it, its life, and its JSON shape."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from bot.core.kernel.params import Spec
from bot.core.messages import Role
from ops.exchange.names import decimal_text, nanoseconds, side_word, wire_symbol


class Stage(Enum):
    """Where an order is."""

    TRANSIT = "transit"
    """taken by the door, not yet in the market: nobody can read it"""
    WAITING = "waiting"
    """a stop order whose price has not been reached"""
    OPEN = "open"
    DONE = "done"


class AttachedExit(NamedTuple):
    """A stop order that another order brings along: it closes what there is at `price`."""

    stop: str
    price: float
    price_type: str


@dataclass(slots=True)
class WireOrder:
    """An order, from its acceptance at the door to its end. Prices USDT, sizes contracts, times ms.

    `price` is 0 without a limit; `stop` is `up`, `down` or empty; `role` is what its fields make
    it, whatever its clientOid says.
    """

    order_id: str
    client_oid: str
    symbol: int
    name: str
    """the project's name of the symbol"""
    role: Role
    kind: str
    """limit or market"""
    side: int
    size: int
    price: float
    leverage: float
    margin_mode: str
    created_ms: int
    reduce_only: bool = False
    close_order: bool = False
    post_only: bool = False
    time_in_force: str = "GTC"
    stop: str = ""
    stop_price: float = 0.0
    stop_price_type: str = ""
    hidden: bool = False
    visible_size: int = 0
    """what an iceberg shows; 0: it is none"""
    remark: str | None = None
    exits: tuple["AttachedExit", ...] = ()
    """stops that close the position, placed once this order has filled"""
    stage: Stage = Stage.TRANSIT
    triggered: bool = False
    cancelled: bool = False
    refusal: str = ""
    """why the market did not take it after the door had"""
    filled: int = 0
    value: float = 0.0
    """USDT that traded"""
    updated_ms: int = 0
    end_ms: int = 0

    @property
    def left(self) -> int:
        return 0 if self.stage is Stage.DONE else self.size - self.filled

    @property
    def live(self) -> bool:
        return self.stage is not Stage.DONE

    @property
    def readable(self) -> bool:
        return self.stage is not Stage.TRANSIT

    @property
    def listed(self) -> bool:
        """Whether it is an order of the market: a stop order is one once it has been triggered."""
        return self.readable and (not self.stop or self.triggered)

    @property
    def may_trade(self) -> bool:
        """Whether it waits for nothing but the market; before that a stop order holds no margin."""
        return self.live and not (self.stop and not self.triggered)

    def end(self, now: int, *, cancelled: bool, refusal: str = "") -> None:
        """Let the order be over."""
        self.stage = Stage.DONE
        self.cancelled = cancelled
        self.refusal = refusal
        self.updated_ms = self.end_ms = now


def order_view(order: WireOrder, spec: Spec) -> dict[str, Any]:
    """Return an order as `GET /api/v1/orders/{id}` and the lists show it."""
    quantity = order.filled * spec.multiplier
    average = order.value / quantity if quantity else 0.0
    return {
        "id": order.order_id,
        "symbol": wire_symbol(order.name),
        "type": order.kind,
        "side": side_word(order.side),
        "price": decimal_text(order.price) if order.kind == "limit" else "0",
        "size": order.size,
        "value": decimal_text(round(order.size * spec.multiplier * order.price, 8)),
        "dealValue": decimal_text(round(order.value, 8)),
        "dealSize": order.filled,
        "stp": "",
        "stop": order.stop,
        "stopPriceType": order.stop_price_type,
        "stopTriggered": order.triggered,
        "stopPrice": decimal_text(order.stop_price) if order.stop else None,
        "timeInForce": order.time_in_force,
        "postOnly": order.post_only,
        "hidden": order.hidden,
        "iceberg": order.visible_size > 0,
        "leverage": decimal_text(order.leverage),
        "forceHold": False,
        "closeOrder": order.close_order,
        "visibleSize": order.visible_size,
        "clientOid": order.client_oid,
        "remark": order.remark,
        "tags": None,
        "isActive": order.live,
        "cancelExist": order.cancelled,
        "createdAt": order.created_ms,
        "updatedAt": order.updated_ms or order.created_ms,
        "endAt": order.end_ms or None,
        "orderTime": nanoseconds(order.created_ms),
        "settleCurrency": "USDT",
        "marginMode": order.margin_mode,
        "avgDealPrice": decimal_text(round(average, 8)),
        "filledSize": order.filled,
        "filledValue": decimal_text(round(order.value, 8)),
        "status": "open" if order.live else "done",
        "reduceOnly": order.reduce_only,
        "positionSide": "BOTH",
    }


def true_view(order: WireOrder) -> dict[str, Any]:
    """Return an order as the control endpoint tells the truth about it."""
    return {
        "client_id": order.client_oid,
        "order_id": order.order_id,
        "symbol": order.name,
        "role": order.role.value,
        "side": order.side,
        "contracts": order.size,
        "filled": order.filled,
        "price": order.price,
        "stop": order.stop,
        "stop_price": order.stop_price,
        "stop_price_type": order.stop_price_type,
        "reduce_only": order.reduce_only,
        "leverage": order.leverage,
        "stage": order.stage.value,
    }
