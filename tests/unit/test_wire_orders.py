"""Orders on the wire simulator: what the door takes, what becomes of it, who can read it when."""

from typing import Any

import pytest

from bot.core.messages import Role
from ops.exchange.news import ORDERS, STOPS
from ops.exchange.orders import Stage
from ops.exchange.refusal import RefusedError
from ops.exchange.validation import role_of_request
from tests.support.wire_desk import SYMBOL, Desk

STOP = {"side": "sell", "stop": "down", "stopPrice": "98", "stopPriceType": "MP"}
CLOSE = {"side": "sell", "reduceOnly": True}


def limit(price: float, **fields: Any) -> dict[str, Any]:
    return {"type": "limit", "price": str(price), **fields}


def long(*prices: Any, size: int = 10, **changes: Any) -> Desk:
    """Return a desk that holds a long position from 100."""
    desk = Desk(*prices, **changes)
    desk.trade(size=size)
    return desk


def held(desk: Desk) -> float:
    position = desk.wire.account.ledger.held[0]
    return position.side * position.contracts


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"size": 0}, "100001"),
        ({"size": 1.5}, "100001"),
        ({"size": "many"}, "100001"),
        ({"size": "1_0"}, "100001"),  # numbers to Python alone
        ({"size": " 5 "}, "100001"),
        ({"size": "\u0665"}, "100001"),
        ({"size": True}, "100001"),
        ({"size": 1_000_001}, "100001"),
        ({"size": None}, "100001"),
        ({"qty": "2"}, "100001"),  # beside size
        ({"symbol": "NOUSDTM"}, "100003"),
        ({"symbol": None}, "100001"),
        ({"side": "up"}, "100001"),
        ({"type": "stop"}, "100001"),
        ({"clientOid": None}, "100001"),
        ({"clientOid": ""}, "100001"),
        ({"clientOid": "o" * 41}, "100001"),
        ({"clientOid": "a.b"}, "100001"),
        ({"clientOid": "ä"}, "100001"),
        ({"leverage": None}, "100001"),
        ({"leverage": 0}, "100001"),
        ({"leverage": "nan"}, "100001"),
        ({"leverage": 51}, "300016"),
        ({"marginMode": "CROSS"}, "330005"),
        ({"marginMode": "BOTH"}, "100001"),
        ({"positionSide": "LONG"}, "330011"),
        ({"reduceOnly": "yes"}, "100001"),
        (limit(100.05), "100001"),
        (limit(0.0), "100001"),
        (limit(100.0, timeInForce="FOK"), "100001"),
        (limit(105.1), "300011"),
        (limit(94.9, side="sell"), "300012"),
        ({"type": "limit"}, "100001"),
        ({"stopPrice": "98"}, "100001"),
        ({"stop": "sideways", "stopPrice": "98", "stopPriceType": "MP"}, "100001"),
        ({"stop": "down", "stopPriceType": "MP"}, "100001"),
        ({"stop": "down", "stopPrice": "98.05", "stopPriceType": "MP"}, "100001"),
        ({"stop": "down", "stopPrice": "98"}, "100001"),
        ({"stop": "down", "stopPrice": "98", "stopPriceType": "LAST"}, "100001"),
        (CLOSE, "300009"),
        ({"closeOrder": True}, "300009"),
        (STOP | {"reduceOnly": True}, "300009"),
        ({"size": 1_001}, "300003"),
        (limit(100.0, size=1_001), "300003"),
    ],
    ids=str,
)
def test_the_door_refuses_with_the_exchanges_code(fields: dict[str, Any], code: str) -> None:
    desk = Desk(100.0)
    assert desk.refused(**fields) == code
    assert desk.wire.account.orders == {}
    assert desk.place(clientOid="o-1").client_oid == "o-1"  # a refused id is free


def test_a_band_is_open_at_its_edge() -> None:
    desk = Desk(100.0)
    desk.place(**limit(105.0))
    desk.place(**limit(95.0, side="sell"))
    assert desk.refused(**limit(94.9, side="sell", timeInForce="IOC")) == "300012"


def test_a_client_id_is_taken_once_for_ever() -> None:
    desk = long(100.0)
    assert desk.wire.account.order_ids == {"o-1": "230000000000000001"}
    assert desk.refused(clientOid="o-1") == "300018"
    assert desk.refused(clientOid="o-1", symbol=SYMBOL, side="sell") == "300018"
    assert list(desk.wire.account.duplicates) == ["o-1", "o-1"]


def test_an_order_can_be_read_once_it_has_arrived() -> None:
    desk = Desk(100.0, latency_ms=(30, 30))
    order = desk.place()
    asked = {"order_id": order.order_id}
    for path, params in (
        ("/api/v1/orders/{order_id}", asked),
        ("/api/v1/orders/byClientOid", {"clientOid": "o-1"}),
    ):
        with pytest.raises(RefusedError) as missing:
            desk.call("GET", path, **params)
        assert str(missing.value) == "100001 error.getOrder.orderNotExist"
    desk.step(30)
    seen = desk.call("GET", "/api/v1/orders/{order_id}", **asked)
    assert (seen["status"], seen["dealSize"], seen["clientOid"]) == ("done", 1, "o-1")
    assert seen == desk.call("GET", "/api/v1/orders/byClientOid", clientOid="o-1")


def test_a_market_order_fills_as_a_taker_and_tells_so() -> None:
    desk = long(100.0)
    order = desk.wire.account.find_client("o-1")
    assert order is not None
    assert (order.role, order.stage, order.filled, order.value) == (
        Role.ENTRY,
        Stage.DONE,
        10,
        1_001.0,  # a tick above 100
    )
    assert desk.types(ORDERS) == ["open", "match", "filled"]
    _, match, done = desk.told(ORDERS)
    assert (match["matchPrice"], match["matchSize"], match["liquidity"]) == ("100.1", "10", "taker")
    assert (match["status"], match["remainSize"]) == ("match", "0")
    assert done["status"] == "done"


def test_an_ioc_limit_fills_inside_its_limit_and_the_rest_is_cancelled() -> None:
    desk = Desk(100.0, depth=4)
    order = desk.trade(**limit(100.2, size=10, timeInForce="IOC"))
    # 4 at 100.1, 4 at 100.2, and 100.3 is too much
    assert (order.filled, order.cancelled, order.live) == (8, True, False)
    assert desk.types(ORDERS) == ["open", "match", "match", "canceled"]
    last = desk.told(ORDERS)[-1]
    assert (last["canceledSize"], last["filledSize"], last["remainSize"]) == ("2", "8", "0")


def test_a_stop_waits_apart_and_becomes_an_order_with_the_same_id() -> None:
    desk = long(100.0, 97.0, depth=6, size=6)
    stop = desk.trade(**STOP, size=6, reduceOnly=True)
    assert (stop.role, stop.stage) == (Role.STOP, Stage.WAITING)
    [waiting] = desk.call("GET", "/api/v1/stopOrders")["items"]
    assert (waiting["id"], waiting["stop"], waiting["stopPrice"]) == (stop.order_id, "down", "98")
    assert (waiting["stopTriggered"], waiting["isActive"]) == (False, True)
    assert desk.call("GET", "/api/v1/orders", status="active")["items"] == []

    desk.bars()
    assert stop.stage is Stage.WAITING
    desk.bars()
    assert held(desk) == 0
    assert desk.call("GET", "/api/v1/stopOrders")["items"] == []
    done = desk.call("GET", "/api/v1/orders", status="done")["items"]
    assert [o["id"] for o in done] == [stop.order_id, "230000000000000001"]
    assert (done[0]["stopTriggered"], done[0]["status"], done[0]["dealSize"]) == (True, "done", 6)
    assert desk.types(STOPS) == ["open", "triggered"]
    assert desk.types(ORDERS)[-3:] == ["open", "match", "filled"]
    assert all("clientOid" not in data for data in desk.told(STOPS))


def test_a_triggered_stop_that_has_not_filled_is_an_active_order() -> None:
    desk = long(100.0, 97.0, depth=1, size=1)
    desk.bars()
    desk.trade(size=1)
    stop = desk.trade(**STOP, size=2, reduceOnly=True)
    desk.step(1)  # the first price of the next bar has room for one contract
    [active] = desk.call("GET", "/api/v1/orders", status="active")["items"]
    assert (active["id"], active["stopTriggered"]) == (stop.order_id, True)
    assert (active["dealSize"], active["size"], active["status"]) == (1, 2, "open")
    desk.bars()
    assert (stop.filled, stop.live) == (2, False)


def test_a_stop_that_is_cancelled_never_was_an_order_of_the_market() -> None:
    desk = long(100.0)
    stop = desk.trade(**STOP, size=10, reduceOnly=True)
    answer = desk.call("DELETE", "/api/v1/orders/{order_id}", order_id=stop.order_id)
    assert answer == {"cancelledOrderIds": [stop.order_id]}
    desk.step(0)
    assert not stop.live
    assert desk.types(STOPS) == ["open", "cancel"]
    assert len(desk.call("GET", "/api/v1/orders", status="done")["items"]) == 1
    seen = desk.call("GET", "/api/v1/orders/{order_id}", order_id=stop.order_id)
    assert (seen["status"], seen["cancelExist"]) == ("done", True)


def test_cancelling_is_asynchronous_and_may_come_too_late() -> None:
    desk = Desk(100.0, latency_ms=(20, 20))
    order = desk.place()
    assert desk.call("DELETE", "/api/v1/orders/{order_id}", order_id=order.order_id)
    desk.step(20)
    assert (order.filled, order.cancelled) == (1, False)
    with pytest.raises(RefusedError, match="100004"):
        desk.call("DELETE", "/api/v1/orders/{order_id}", order_id=order.order_id)
    with pytest.raises(RefusedError, match="100004"):
        desk.call("DELETE", "/api/v1/orders/{order_id}", order_id="230000000000000099")


def test_cancelling_by_client_id_many_and_all() -> None:
    desk = long(100.0)
    stop = desk.trade(**STOP, size=10, reduceOnly=True)
    orders = [desk.trade(**limit(90.0 + i)) for i in range(5)]
    path = "/api/v1/orders/client-order/{client_oid}"
    by_name = {"client_oid": orders[0].client_oid, "symbol": SYMBOL}
    assert desk.call("DELETE", path, **by_name) == {"clientOid": orders[0].client_oid}
    wanted = {
        "orderIdsList": [orders[1].order_id, "1"],
        "clientOidsList": [{"symbol": SYMBOL, "clientOid": orders[2].client_oid}],
    }
    answers = desk.call("DELETE", "/api/v1/orders/multi-cancel", wanted)
    assert [a["code"] for a in answers] == ["200", "100004", "200"]
    desk.step(0)
    assert [o.live for o in orders] == [False, False, False, True, True]
    gone = desk.call("DELETE", "/api/v1/orders", symbol=SYMBOL)["cancelledOrderIds"]
    assert gone == [orders[3].order_id, orders[4].order_id]
    desk.step(0)
    assert stop.live
    assert desk.call("DELETE", "/api/v3/orders", symbol=SYMBOL)["cancelledOrderIds"] == []
    gone = desk.call("DELETE", "/api/v1/stopOrders", symbol=SYMBOL)["cancelledOrderIds"]
    assert gone == [stop.order_id]
    desk.step(0)
    assert desk.wire.account.live == {}


def test_what_only_reduces_is_cut_to_the_position() -> None:
    desk = long(100.0)
    order = desk.trade(**CLOSE, size=25)
    assert (order.size, order.filled, held(desk)) == (10, 10, 0)
    assert desk.refused(**CLOSE) == "300009"


def test_a_close_order_works_out_side_and_size() -> None:
    desk = Desk(100.0)
    desk.trade(side="sell", size=7)
    order = desk.trade(side=None, size=None, leverage=None, closeOrder=True)
    assert (order.side, order.filled, held(desk)) == (1, 7, 0)


@pytest.mark.parametrize("kind", ["TP", "MP"])
@pytest.mark.parametrize(("more", "rest"), [("buy", 16), ("sell", 4)])
def test_a_stop_that_closes_takes_the_position_as_it_is_when_triggered(
    kind: str, more: str, rest: int
) -> None:
    desk = long(100.0, 96.0, 96.0)
    closing = {"closeOrder": True, "side": None, "size": None, "leverage": None}
    stop = desk.trade(**closing, stop="down", stopPrice="98", stopPriceType=kind)
    desk.trade(side=more, size=6)
    desk.bars(3)
    assert (stop.filled, stop.size, stop.cancelled, held(desk)) == (rest, rest, False, 0)


@pytest.mark.parametrize("fields", [{}, limit(99.9), limit(99.9, timeInForce="IOC")], ids=str)
def test_an_order_against_the_position_opens_another_with_the_rest(fields: dict[str, Any]) -> None:
    desk = long(100.0)
    stop = desk.trade(**STOP, size=10, reduceOnly=True)
    desk.said.clear()
    order = desk.trade(side="sell", size=15, **fields)
    assert (order.filled, order.cancelled, held(desk)) == (15, False, -5)
    seen = desk.call("GET", "/api/v1/orders/{order_id}", order_id=order.order_id)
    assert (seen["status"], seen["cancelExist"], seen["reduceOnly"]) == ("done", False, False)
    assert desk.types(ORDERS) == ["open", "match", "filled"]
    assert desk.told(ORDERS)[1]["matchSize"] == "15"
    assert (stop.live, stop.cancelled, desk.types(STOPS)) == (False, True, ["cancel"])


def test_an_order_that_waited_for_its_price_turns_the_position_of_then_around() -> None:
    desk = long(100.0, 97.0, 97.0)
    order = desk.trade(**STOP, size=15)  # it closes, and is not reduce-only
    desk.bars(2)
    assert (order.triggered, order.filled, held(desk)) == (True, 15, -5)


def test_exits_that_a_turning_order_brings_along_are_of_the_new_position() -> None:
    desk = long(100.0, 97.0, 97.0)
    desk.call("POST", "/api/v1/st-orders", with_exits("99.9", side="sell", size=15))
    desk.step(0)
    exits = desk.call("GET", "/api/v1/stopOrders")["items"]
    assert [(o["stop"], o["side"], o["size"]) for o in exits] == [
        ("down", "buy", 5),
        ("up", "buy", 5),
    ]
    desk.bars(2)
    assert (held(desk), desk.wire.account.live) == (0, {})


def test_the_door_asks_margin_for_what_an_order_opens_alone() -> None:
    desk = long(100.0, size=500)
    available = desk.wire.account.available()
    most = int(available / 9.99)  # 100 at leverage 10, and what the sale closes is free
    assert desk.refused(side="sell", size=500 + most + 20) == "300003"
    assert desk.refused(**limit(104.0, side="sell", size=500 + most)) == "300003"
    resting = desk.trade(**limit(104.0, side="sell", size=510))
    assert desk.wire.account.order_margin() == pytest.approx(10 * 10.4)
    assert desk.wire.account.available() == pytest.approx(available - 104.0)
    assert desk.refused(side="sell", size=most) == "300003"  # that one closes it already
    assert desk.trade(side="sell", size=200).filled == 200
    assert desk.wire.account.order_margin() == pytest.approx(210 * 10.4)
    assert resting.live


def test_an_order_that_reduces_leaves_what_it_does_not_need() -> None:
    desk = long(100.0)
    desk.trade(**limit(100.0, side="sell", size=4, timeInForce="IOC"))
    assert held(desk) == 10  # a sell at 100 would have to pay 99.9
    desk.trade(**limit(99.9, side="sell", size=4, timeInForce="IOC"))
    assert held(desk) == 6


def test_a_target_rests_and_fills_as_a_maker_a_tick_through() -> None:
    desk = long(100.0, (101.0, 102.0), 102.1, depth=100)
    desk.bars()
    target = desk.trade(**limit(102.0, **CLOSE, size=10))
    assert target.role is Role.TARGET
    [resting] = desk.call("GET", "/api/v1/orders", status="active")["items"]
    assert (resting["id"], resting["reduceOnly"]) == (target.order_id, True)
    desk.bars()
    assert target.live
    desk.bars()
    assert (target.filled, held(desk)) == (10, 0)
    [fill] = desk.call("GET", "/api/v1/recentFills")[:1]
    assert (fill["liquidity"], fill["price"], fill["feeRate"]) == ("maker", "102", "0.0002")
    assert (fill["openFeePay"], fill["closeFeePay"]) == ("0", "0.204")
    assert desk.told(ORDERS)[-2]["status"] == "open"  # a maker's match


def test_a_resting_entry_reserves_margin_and_fills_later() -> None:
    desk = Desk(100.0, (99.0, 98.0))
    order = desk.trade(**limit(99.0, size=10))
    seen = desk.call("GET", "/api/v1/account-overview", currency="USDT")
    assert seen["orderMargin"] == pytest.approx(99.0)
    assert seen["availableBalance"] == pytest.approx(10_000.0 - 99.0)
    assert desk.refused(**limit(99.0, size=1_001)) == "300003"
    desk.bars(2)
    assert (order.filled, held(desk)) == (10, 10)
    assert desk.wire.account.order_margin() == 0.0


def test_post_only_never_takes() -> None:
    desk = Desk(100.0)
    taking = desk.trade(**limit(101.0, postOnly=True))
    assert (taking.filled, taking.cancelled) == (0, True)
    resting = desk.trade(**limit(99.0, postOnly=True))
    assert resting.live


def test_a_conditional_entry_waits_for_its_price_and_may_fail() -> None:
    desk = Desk(100.0, 103.0, 103.0)
    good = desk.trade(size=5, stop="up", stopPrice="102", stopPriceType="TP")
    bad = desk.trade(size=5_000, stop="up", stopPrice="102", stopPriceType="TP")
    assert [o["id"] for o in desk.call("GET", "/api/v1/stopOrders")["items"]] == [
        bad.order_id,
        good.order_id,
    ]
    desk.bars(2)
    assert (good.filled, good.triggered, held(desk)) == (5, True, 5)
    assert (bad.filled, bad.cancelled, "300003" in bad.refusal) == (0, True, True)
    told = [data for data in desk.told(STOPS) if data["type"] != "open"]
    assert [(d["orderId"], d["type"], d["triggerSuccess"]) for d in told] == [
        (good.order_id, "triggered", True),
        (bad.order_id, "triggered", False),
    ]
    assert "300003" in told[1]["error"]
    assert {d["orderId"] for d in desk.told(ORDERS)} == {good.order_id}
    assert bad.triggered


@pytest.mark.parametrize(
    "fields", [STOP | {"reduceOnly": True}, {"closeOrder": True, "size": None}]
)
def test_a_stop_whose_price_is_there_when_it_comes_is_open_and_triggered(
    fields: dict[str, Any],
) -> None:
    desk = long(100.0)
    stop = desk.trade(**{"size": 10} | STOP | fields | {"stopPrice": "101"})
    assert (stop.filled, held(desk)) == (10, 0)
    assert desk.types(STOPS) == ["open", "triggered"]
    assert [d["type"] for d in desk.told(ORDERS) if d["orderId"] == stop.order_id] == [
        "open",
        "match",
        "filled",
    ]


@pytest.mark.parametrize(("kind", "reached"), [("TP", True), ("MP", False), ("IP", False)])
def test_a_stop_looks_at_the_price_it_names(kind: str, reached: bool) -> None:
    desk = long(100.0, (100.0, 98.0))
    stop = desk.trade(**STOP | {"stopPriceType": kind}, size=10, reduceOnly=True)
    while desk.wire.market.exchange.last[0] > 98.0:
        desk.step(1_000)
    assert desk.wire.market.mark(0) > 98.0  # it lags
    assert stop.triggered is reached


def test_a_take_profit_closes_when_the_mark_has_risen() -> None:
    desk = long(100.0, 103.0, 103.0, 103.0)
    profit = desk.trade(**STOP | {"stop": "up", "stopPrice": "102"}, size=10, reduceOnly=True)
    stop = desk.trade(**STOP, size=10, reduceOnly=True)
    desk.bars(3)
    assert (profit.filled, held(desk)) == (10, 0)
    assert (stop.live, stop.filled) == (False, 0)  # it went with the position


def test_a_paused_contract_takes_no_orders_and_stands_still() -> None:
    desk = long(100.0, 90.0, 90.0)
    stop = desk.trade(**STOP, size=10, reduceOnly=True)
    desk.wire.market.pause(0)
    assert desk.refused() == "300002"
    desk.bars(2)
    assert (stop.live, desk.wire.market.exchange.last[0]) == (True, 100.0)
    desk.wire.market.resume(0)
    desk.bars()
    assert not stop.live


def test_too_many_orders_are_refused() -> None:
    desk = Desk(100.0)
    for _ in range(100):
        desk.place(**limit(90.0))
    assert desk.refused(**limit(90.0)) == "300001"
    for _ in range(200):
        desk.place(stop="up", stopPrice="110", stopPriceType="MP")
    assert desk.refused(stop="up", stopPrice="110", stopPriceType="MP") == "300004"


def test_a_test_order_is_checked_and_not_placed() -> None:
    desk = Desk(100.0)
    body = {"clientOid": "t", "symbol": SYMBOL, "side": "buy", "type": "market", "leverage": 2}
    assert desk.call("POST", "/api/v1/orders/test", body | {"size": 1})["clientOid"] == "t"
    with pytest.raises(RefusedError, match="100001"):
        desk.call("POST", "/api/v1/orders/test", body | {"size": 0})
    assert desk.wire.account.orders == {}


def with_exits(price: str, **fields: Any) -> dict[str, Any]:
    """Return a body of `st-orders`."""
    return {
        "clientOid": "e",
        "symbol": SYMBOL,
        "side": "buy",
        "type": "limit",
        "price": price,
        "leverage": 2,
        "size": 4,
        "triggerStopUpPrice": "102",
        "triggerStopDownPrice": "98",
        "stopPriceType": "MP",
    } | fields


def test_an_order_brings_its_exits_along() -> None:
    desk = Desk(100.0, 103.0, 103.0)
    desk.call("POST", "/api/v1/st-orders", with_exits("100.1"))
    desk.step(0)
    exits = desk.call("GET", "/api/v1/stopOrders")["items"]
    assert [(o["stop"], o["stopPrice"], o["size"]) for o in exits] == [
        ("down", "98", 4),
        ("up", "102", 4),
    ]
    desk.bars(3)
    assert (held(desk), desk.wire.account.live) == (0, {})


def test_exits_come_with_a_fill_only() -> None:
    desk = Desk(100.0, depth=3)
    desk.call("POST", "/api/v1/st-orders", with_exits("99.9"))
    desk.step(0)
    desk.call("DELETE", "/api/v1/orders", symbol=SYMBOL)
    desk.step(0)
    assert desk.wire.account.live == {}
    desk.call("POST", "/api/v1/st-orders", with_exits("100.1", clientOid="f", timeInForce="IOC"))
    desk.step(0)
    exits = desk.call("GET", "/api/v1/stopOrders")["items"]
    assert [o["size"] for o in exits] == [3, 3]  # what has filled
    for wrong in ({"triggerStopUpPrice": "x"}, {"stopPriceType": None}):
        with pytest.raises(RefusedError, match="100001"):
            desk.call("POST", "/api/v1/st-orders", with_exits("99.9", clientOid="g", **wrong))


def test_many_orders_are_taken_or_refused_one_by_one() -> None:
    desk = Desk(100.0)
    body = {"symbol": SYMBOL, "side": "buy", "type": "market", "leverage": 2, "size": 1}
    answers = desk.call(
        "POST", "/api/v1/orders/multi", [body | {"clientOid": "a"}, body | {"clientOid": "a"}]
    )
    assert [(a["clientOid"], a["code"]) for a in answers] == [("a", "200000"), ("a", "300018")]
    with pytest.raises(RefusedError, match="1 to 20"):
        desk.call("POST", "/api/v1/orders/multi", [body] * 21)


@pytest.mark.parametrize(
    ("body", "role"),
    [
        ({"type": "limit"}, "entry"),
        ({"type": "market", "reduceOnly": True}, "exit"),
        ({"type": "market", "closeOrder": True}, "exit"),
        ({"type": "market", "stop": "down", "reduceOnly": True}, "stop"),
        ({"type": "market", "stop": "down"}, "entry"),
        ({"type": "limit", "reduceOnly": True}, "target"),
        ({"clientOid": "9-stop", "type": "limit"}, "entry"),  # the name means nothing
    ],
    ids=str,
)
def test_the_role_follows_from_the_fields(body: dict[str, Any], role: str) -> None:
    assert role_of_request({"symbol": SYMBOL, "side": "buy", **body}) == role


def test_what_is_no_order_has_no_role() -> None:
    assert role_of_request(None) is None
    assert role_of_request({"symbol": SYMBOL, "margin": "5"}) is None


def test_finished_orders_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.exchange.account.KEPT_DONE", 3)
    desk = Desk(100.0)
    first = desk.trade()
    for _ in range(4):
        desk.trade()
    assert len(desk.wire.account.orders) == 3
    with pytest.raises(RefusedError, match="orderNotExist"):
        desk.call("GET", "/api/v1/orders/{order_id}", order_id=first.order_id)
    assert desk.refused(clientOid=first.client_oid) == "300018"  # the id stays taken
