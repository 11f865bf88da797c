"""What the door of the wire simulator asks of an order's price and of what shows of the order."""

from typing import Any

import pytest

from tests.support.wire_desk import SYMBOL, Desk

LIMIT = {"type": "limit", "price": "99", "size": 9}
STOP = {"stop": "up", "stopPriceType": "MP"}


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "limit", "price": "1000000.1", "side": "sell"},
        STOP | {"stopPrice": "1000000.1"},
        LIMIT | STOP | {"stopPrice": "101", "price": "1000000.1"},
    ],
    ids=str,
)
def test_no_price_is_above_the_contracts_highest(fields: dict[str, Any]) -> None:
    desk = Desk(100.0)
    assert desk.refused(**fields) == "300011"


def test_the_highest_price_is_taken() -> None:
    desk = Desk(100.0)
    highest = desk.call("GET", "/api/v1/contracts/{symbol}", symbol=SYMBOL)["maxPrice"]
    assert desk.place(**STOP, stopPrice=highest).stop_price == 1_000_000.0


def test_an_order_at_the_market_may_be_smaller_than_one_with_a_limit() -> None:
    desk = Desk(100.0)
    desk.wire.market.exchange.specs[0].max_contracts = 8.0
    seen = desk.call("GET", "/api/v1/contracts/{symbol}", symbol=SYMBOL)
    assert (seen["maxOrderQty"], seen["marketMaxOrderQty"]) == (1_000_000, 8)
    assert desk.refused(size=9) == "100001"
    assert desk.place(size=8).size == 8
    assert desk.place(**LIMIT).size == 9


@pytest.mark.parametrize(
    "fields",
    [
        {"postOnly": True, "hidden": True},
        {"postOnly": True, "iceberg": True, "visibleSize": 1},
        {"iceberg": True},
        {"iceberg": True, "visibleSize": 0},
        {"iceberg": True, "visibleSize": 1.5},
        {"iceberg": True, "visibleSize": 10},
        {"hidden": "yes"},
    ],
    ids=str,
)
def test_what_shows_has_to_make_sense(fields: dict[str, Any]) -> None:
    assert Desk(100.0).refused(**LIMIT, **fields) == "100001"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, (False, False, 0)),
        ({"hidden": True}, (True, False, 0)),
        ({"iceberg": True, "visibleSize": "3"}, (False, True, 3)),
        # Beside IOC, postOnly is void.
        ({"hidden": True, "postOnly": True, "timeInForce": "IOC"}, (True, False, 0)),
    ],
    ids=str,
)
def test_an_order_says_what_of_it_shows(
    fields: dict[str, Any], shown: tuple[bool, bool, int]
) -> None:
    desk = Desk(100.0)
    order = desk.trade(**LIMIT, **fields)
    seen = desk.call("GET", "/api/v1/orders/{order_id}", order_id=order.order_id)
    assert (seen["hidden"], seen["iceberg"], seen["visibleSize"]) == shown
