"""The account of the wire simulator: sums that must hold, statements, paging, settings."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.observations import Takeover
from ops.exchange.calls import DAY_MS
from ops.exchange.news import ORDERS, POSITION, WALLET
from ops.exchange.refusal import RefusedError
from tests.support.wire_desk import MINUTE, PAST, START, SYMBOL, Desk

CLOSE = {"side": "sell", "reduceOnly": True}
SETTLED = START + (PAST + 1) * MINUTE

# What a bot, a person and the exchange may do, in any order; what is refused is refused.
ACTIONS = st.one_of(
    st.tuples(st.just("enter"), st.sampled_from(["buy", "sell"]), st.integers(1, 300)),
    st.tuples(st.just("limit"), st.sampled_from(["buy", "sell"]), st.integers(-40, 40)),
    st.tuples(st.just("reduce"), st.integers(1, 300)),
    st.tuples(st.just("stop"), st.integers(1, 30)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("transfer"), st.integers(-500, 500)),
    st.tuples(st.just("liquidate")),
    st.tuples(st.just("wait"), st.integers(0, 90_000)),
)


def do(desk: Desk, action: tuple[Any, ...]) -> str:
    """Do one thing to an account; return the code when it is refused."""
    try:
        if action[0] in ("enter", "limit", "reduce", "stop"):
            desk.place(**order_of(desk, action))
        else:
            do_otherwise(desk, action)
    except RefusedError as refusal:
        return refusal.code
    return ""


def order_of(desk: Desk, action: tuple[Any, ...]) -> dict[str, Any]:
    """Return the fields of the order that an action sends."""
    held = desk.wire.account.ledger.held[0]
    price = round(desk.wire.market.exchange.last[0], 1)
    match action:
        case ("limit", side, ticks):
            limit = round(price + ticks / 10, 1)
            return {"side": side, "size": 9, "type": "limit", "price": limit}
        case ("reduce", size):
            side = "sell" if held.side > 0 else "buy"
            return {"side": side, "size": size, "reduceOnly": True}
        case ("stop", ticks):
            side, stop = ("sell", "down") if held.side > 0 else ("buy", "up")
            level = round(price - held.side * ticks / 10, 1)
            fields = {"side": side, "stop": stop, "stopPrice": level, "stopPriceType": "MP"}
            return fields | {"size": 500, "reduceOnly": True}
    _, side, size = action
    return {"side": side, "size": size}


def do_otherwise(desk: Desk, action: tuple[Any, ...]) -> None:
    account = desk.wire.account
    match action:
        case ("cancel", i) if account.live:
            name = list(account.live)[i % len(account.live)]
            desk.call("DELETE", "/api/v1/orders/{order_id}", order_id=name)
        case ("transfer", amount):
            account.transfer(float(amount), desk.now, "test")
        case ("liquidate",) if account.ledger.held[0].side != 0:
            desk.wire.market.exchange.liquidate(0)
        case ("wait", ms):
            desk.step(ms)


def check_sums(desk: Desk) -> None:
    """Assert what holds at every moment (API reference 4.1)."""
    seen = desk.call("GET", "/api/v1/account-overview", currency="USDT")
    margin, profit = seen["marginBalance"], seen["unrealisedPNL"]
    assert seen["accountEquity"] == pytest.approx(margin + profit, abs=1e-6)
    parts = ("positionMargin", "orderMargin", "frozenFunds", "availableBalance")
    assert margin == pytest.approx(sum(seen[key] for key in parts) - profit, abs=1e-6)

    account = desk.wire.account
    assert seen["accountEquity"] == pytest.approx(account.ledger.equity(), abs=1e-6)
    rows = desk.call("GET", "/api/v1/positions")
    assert sum(row["unrealisedPnl"] for row in rows) == pytest.approx(profit, abs=1e-6)
    isolated = sum(row["posInit"] for row in rows)
    assert isolated == pytest.approx(seen["positionMargin"] - profit, abs=1e-6)

    track, held = account.tracks[0], account.ledger.held[0]
    assert track.contracts == held.side * held.contracts
    assert track.entry == pytest.approx(held.entry_price) or track.contracts == 0
    booked = sum(entry.amount for entry in account.statements.ledger) + track.net
    assert booked == pytest.approx(account.ledger.wallet, abs=1e-6)

    fills = account.statements.fills
    assert sum(fill.side * fill.contracts for fill in fills) == track.contracts
    closed = [fill.closed for fill in fills]
    assert all(0 <= part <= fill.contracts for part, fill in zip(closed, fills, strict=True))
    opened = sum(fill.contracts for fill in fills) - sum(closed)
    assert opened - sum(closed) == abs(track.contracts)
    for order in account.orders.values():
        mine = [fill for fill in fills if fill.order_id == order.order_id]
        assert order.filled == sum(fill.contracts for fill in mine) <= order.size
        assert order.value == pytest.approx(sum(fill.value for fill in mine))
        assert order.live == (order.order_id in account.live)
    known = {name for name, o in account.live.items() if o.readable}
    exchange = desk.wire.market.exchange
    assert known == exchange.book.orders.keys() | exchange.waiting.keys()
    assert exchange.terms.keys() <= account.live.keys()


@settings(max_examples=60)
@given(
    actions=st.lists(ACTIONS, max_size=40),
    moves=st.lists(st.integers(-30, 30), min_size=10, max_size=10),
    latency=st.sampled_from([(0, 0), (5, 40), (100, 5_000)]),
    depth=st.sampled_from([1, 7, 1_000]),
)
def test_the_sums_hold_whatever_happens(
    actions: list[tuple[Any, ...]], moves: list[int], latency: tuple[int, int], depth: int
) -> None:
    prices = [100.0]
    for move in moves:
        prices.append(max(60.0, round(prices[-1] + move / 10, 1)))
    bars = list(pairwise(prices))
    funding = [(0, SETTLED + i * MINUTE, 0.001 * (i - 2)) for i in range(6)]
    desk = Desk(*bars, latency_ms=latency, depth=depth, funding=funding)
    for action in actions:
        assert do(desk, action) in {"", "300003", "300009", "300011", "300012", "100004"}
        desk.step(7)
        check_sums(desk)
    desk.step(15 * MINUTE)
    check_sums(desk)


def test_a_position_has_every_field_and_the_kernels_numbers() -> None:
    desk = Desk(100.0, 101.0)
    desk.trade(size=10)
    desk.bars(2)
    [row] = desk.call("GET", "/api/v1/positions")
    assert row == desk.call("GET", "/api/v1/position", symbol=SYMBOL)
    assert (row["currentQty"], row["avgEntryPrice"], row["markPrice"]) == (10, 100.1, 101.03)
    assert (row["posCost"], row["posInit"], row["unrealisedPnl"]) == (1_001.0, 100.1, 9.0)
    assert row["liquidationPrice"] == pytest.approx(desk.wire.account.ledger.liquidation_price(0))
    assert row["bankruptPrice"] == pytest.approx(90.09)
    assert (row["marginMode"], row["crossMode"], row["positionSide"]) == ("ISOLATED", False, "BOTH")
    assert row["realLeverage"] == round(1_010.0 / 109.1, 2)
    assert row["openingTimestamp"] == START + PAST * MINUTE


def test_a_flat_account_has_no_positions_but_can_be_asked_for_one() -> None:
    desk = Desk(100.0)
    assert desk.call("GET", "/api/v1/positions") == []
    row = desk.call("GET", "/api/v1/position", symbol=SYMBOL)
    assert (row["isOpen"], row["currentQty"], row["openingTimestamp"]) == (False, 0, None)


def test_a_short_is_negative() -> None:
    desk = Desk(100.0)
    desk.trade(side="sell", size=10)
    [row] = desk.call("GET", "/api/v1/positions")
    assert (row["currentQty"], row["posCost"], row["posInit"]) == (-10, -999.0, 99.9)


def test_funding_is_in_the_history_and_in_the_position() -> None:
    desk = Desk(100.0, 100.0, funding=[(0, SETTLED, 0.001)])
    desk.trade(size=10)
    desk.bars()
    history = desk.call("GET", "/api/v1/funding-history", symbol=SYMBOL)
    [record] = history["dataList"]
    assert (record["funding"], record["fundingRate"], record["timePoint"]) == (-1.0, 0.001, SETTLED)
    assert (record["positionQty"], record["positionCost"], record["markPrice"]) == (10, 1_000, 100)
    told = desk.told(f"{POSITION}:{SYMBOL}")
    assert [data["fundingFee"] for data in told if "qty" in data] == [-1.0]
    assert told[-1]["posFunding"] == -1.0
    desk.trade(**CLOSE, size=10)
    [closed] = desk.call("GET", "/api/v1/history-positions", limit=200)["items"]
    assert (closed["type"], closed["fundingFee"], closed["openPrice"]) == (
        "CLOSE_LONG",
        "-1.0",
        "100.1",
    )
    rates = desk.call("GET", "/api/v1/contract/funding-rates", symbol=SYMBOL, **{"from": 0})
    assert rates == [{"symbol": SYMBOL, "fundingRate": 0.001, "timepoint": SETTLED}]


@pytest.mark.parametrize("mode", ["ISOLATED", "CROSS"])
def test_funding_is_of_the_margin_mode_of_its_position(mode: str) -> None:
    desk = Desk(100.0, 100.0, funding=[(0, SETTLED, 0.001)])
    path = "/api/v2/position/changeMarginMode"
    desk.call("POST", path, {"symbol": SYMBOL, "marginMode": mode})
    desk.trade(size=10, marginMode=mode)
    desk.bars()
    [record] = desk.call("GET", "/api/v1/funding-history", symbol=SYMBOL)["dataList"]
    assert record["marginMode"] == json.loads(record["context"])["marginMode"] == mode


def turned(**fields: Any) -> Desk:
    """Return a desk that was 10 long from 100.1 and is 5 short from 99.9, a second later."""
    desk = Desk(100.0, 100.0, funding=[(0, SETTLED, 0.001)])
    desk.trade(size=10)
    desk.step(1_000)
    desk.said.clear()
    desk.trade(side="sell", size=15, **fields)
    return desk


def test_a_position_that_is_turned_around_is_closed_and_another_is_open() -> None:
    desk = turned(leverage=5)
    [closed] = desk.call("GET", "/api/v1/history-positions")["items"]
    fees = 0.0006 * 10 * (100.1 + 99.9)
    assert (closed["type"], closed["side"], closed["leverage"]) == ("CLOSE_LONG", "LONG", "10")
    assert (closed["openPrice"], closed["closePrice"]) == ("100.1", "99.9")
    assert float(closed["tradeFee"]) == pytest.approx(fees)
    assert float(closed["pnl"]) == pytest.approx(10 * -0.2 - fees)
    assert (closed["openTime"], closed["closeTime"]) == (desk.now - 1_000, desk.now)
    rows = desk.call("GET", "/api/v1/transaction-history", currency="USDT")["dataList"]
    pending, newest = rows[:2]
    assert (pending["status"], newest["status"]) == ("Pending", "Completed")
    assert (newest["type"], newest["amount"]) == ("RealisedPNL", pytest.approx(10 * -0.2 - fees))

    [row] = desk.call("GET", "/api/v1/positions")
    assert (row["currentQty"], row["avgEntryPrice"], row["leverage"]) == (-5, 99.9, 5.0)
    assert (row["posCost"], row["posInit"]) == pytest.approx((-499.5, 99.9))
    assert row["currentComm"] == pytest.approx(0.0006 * 5 * 99.9)
    assert (row["realisedGrossPnl"], row["openingTimestamp"]) == (0.0, desk.now)
    assert row["liquidationPrice"] > row["avgEntryPrice"]
    assert row["bankruptPrice"] == pytest.approx(99.9 * 1.2)
    assert desk.wire.account.available() == pytest.approx(desk.wire.account.ledger.wallet - 99.9)
    check_sums(desk)


def test_an_order_that_turns_a_position_around_is_one_fill_of_two_fees() -> None:
    desk = turned()
    fill, _ = desk.call("GET", "/api/v1/fills", symbol=SYMBOL)["items"]
    assert (fill["side"], fill["size"], fill["price"]) == ("sell", 15, "99.9")
    parts = [float(fill[key]) for key in ("closeFeePay", "openFeePay", "fee")]
    assert parts == pytest.approx([0.0006 * n * 99.9 for n in (10, 5, 15)])
    [told] = desk.told(f"{POSITION}:{SYMBOL}")
    assert (told["currentQty"], told["changeReason"]) == (-5, "positionChange")
    [wallet] = desk.told(WALLET)
    assert float(wallet["isolatedPosMargin"]) == pytest.approx(49.95)


def test_funding_after_a_turn_is_of_the_new_position() -> None:
    desk = turned()
    desk.bars()
    [record] = desk.call("GET", "/api/v1/funding-history", symbol=SYMBOL)["dataList"]
    assert (record["positionQty"], record["funding"]) == (-5, 0.5)
    desk.trade(size=5, reduceOnly=True)
    last, first = desk.call("GET", "/api/v1/history-positions")["items"]
    assert (last["type"], last["fundingFee"]) == ("CLOSE_SHORT", "0.5")
    assert float(first["fundingFee"]) == 0.0
    check_sums(desk)


def test_a_liquidation_is_a_fill_without_an_order_of_ours() -> None:
    desk = Desk(100.0, 80.0)
    desk.trade(size=10)
    stop = desk.trade(
        **CLOSE, size=10, stop="down", stopPrice="95", stopPriceType="TP", clientOid="s"
    )
    desk.bars(2)
    fill = desk.call("GET", "/api/v1/fills", symbol=SYMBOL)["items"][0]
    assert (fill["tradeType"], fill["side"], fill["size"]) == ("liquid", "sell", 10)
    assert fill["orderId"] not in desk.wire.account.orders
    assert not stop.live
    [closed] = desk.call("GET", "/api/v1/history-positions")["items"]
    assert closed["type"] == "LIQUID_LONG"
    assert [d["tradeType"] for d in desk.told(ORDERS) if d["clientOid"] == ""] == ["liquid"]
    equity = desk.call("GET", "/api/v1/account-overview", currency="USDT")["accountEquity"]
    newest = desk.call("GET", "/api/v1/transaction-history", currency="USDT")["dataList"][0]
    assert (newest["type"], newest["accountEquity"]) == ("RealisedPNL", equity)


@pytest.mark.parametrize(
    ("way", "reason", "type_"),
    [
        (Takeover.LIQUIDATION, "liquidation", "LIQUID_LONG"),
        (Takeover.ADL, "adl", "ADL_LONG"),
        (Takeover.SETTLEMENT, "positionChange", "CLOSE_LONG"),
    ],
)
def test_a_position_that_the_exchange_ends_says_why(way: Takeover, reason: str, type_: str) -> None:
    desk = Desk(100.0, 100.0)
    desk.trade(size=10)
    if way is Takeover.LIQUIDATION:
        desk.wire.market.exchange.liquidate(0)
    else:
        desk.wire.market.exchange.take(0, 10.0, way)
    desk.step(0)
    told = desk.told(f"{POSITION}:{SYMBOL}")
    assert [d["changeReason"] for d in told] == ["positionChange", reason]
    [row] = desk.call("GET", "/api/v1/history-positions")["items"]
    assert row["type"] == type_


def test_a_mark_is_news_of_a_position_every_second() -> None:
    desk = Desk(100.0, (100.0, 104.0))
    desk.wire.news.wanted = lambda: {f"{POSITION}:{SYMBOL}"}  # type: ignore[method-assign]
    desk.step(1_001)
    assert desk.told(f"{POSITION}:{SYMBOL}") == []  # none without a position
    desk.trade(size=10)
    desk.step(999)
    [whole] = desk.told(f"{POSITION}:{SYMBOL}")
    desk.step(1)
    _, moved = desk.told(f"{POSITION}:{SYMBOL}")
    assert "symbol" not in moved
    assert "changeReason" not in moved
    row = desk.call("GET", "/api/v1/position", symbol=SYMBOL)
    assert moved == {key: row[key] for key in moved}
    assert {"markPrice", "markValue", "unrealisedPnl", "realLeverage"} < moved.keys() < whole.keys()


def test_news_of_wallet_and_position_follow_a_fill() -> None:
    desk = Desk(100.0)
    desk.trade(size=10)
    [position] = desk.told(f"{POSITION}:{SYMBOL}")
    assert (position["currentQty"], position["changeReason"]) == (10, "positionChange")
    [wallet] = desk.told(WALLET)
    overview = desk.call("GET", "/api/v1/account-overview", currency="USDT")
    assert float(wallet["equity"]) == pytest.approx(overview["accountEquity"])
    assert float(wallet["availableBalance"]) == pytest.approx(overview["availableBalance"])
    assert float(wallet["isolatedPosMargin"]) == pytest.approx(100.1)
    assert all(isinstance(value, str) for value in wallet.values())
    desk.step(1)
    assert len(desk.told(WALLET)) == len(desk.told(f"{POSITION}:{SYMBOL}")) == 1  # told once


def test_transfers_are_in_the_ledger() -> None:
    desk = Desk(100.0)
    desk.call("POST", "/api/v1/transfer-in", {"currency": "USDT", "amount": "50"})
    done = desk.call("POST", "/api/v3/transfer-out", {"currency": "USDT", "amount": "20.5"})
    assert (done["status"], done["amount"]) == ("PROCESSING", "20.5")
    with pytest.raises(RefusedError, match="200004"):
        desk.call("POST", "/api/v2/transfer-out", {"currency": "USDT", "amount": "20000"})
    rows = desk.call("GET", "/api/v1/transaction-history", currency="USDT")["dataList"]
    assert [(row["type"], row["amount"]) for row in rows] == [
        ("TransferOut", -20.5),
        ("TransferIn", 50.0),
        ("TransferIn", 10_000.0),
    ]
    assert desk.wire.account.ledger.wallet == 10_029.5


def test_lists_are_paged() -> None:
    desk = Desk(100.0, depth=1_000)
    for _ in range(120):
        desk.trade()
    first = desk.call("GET", "/api/v1/orders", status="done")
    assert {key: first[key] for key in ("currentPage", "pageSize", "totalNum", "totalPage")} == {
        "currentPage": 1,
        "pageSize": 50,
        "totalNum": 120,
        "totalPage": 3,
    }
    pages = [
        desk.call("GET", "/api/v1/fills", pageSize=50, currentPage=i)["items"] for i in (1, 2, 3, 4)
    ]
    assert [len(rows) for rows in pages] == [50, 50, 20, 0]
    ids = [row["tradeId"] for rows in pages for row in rows]
    assert len(set(ids)) == 120
    assert ids == sorted(ids, reverse=True)  # newest first
    assert len(desk.call("GET", "/api/v1/fills", pageSize=1_000)["items"]) == 120
    for wrong in ({"pageSize": 1_001}, {"pageSize": -1}, {"currentPage": -1}, {"pageSize": "x"}):
        with pytest.raises(RefusedError, match="100001"):
            desk.call("GET", "/api/v1/fills", **wrong)


def test_the_ledger_is_scrolled() -> None:
    desk = Desk(100.0)
    for i in range(5):
        desk.wire.account.transfer(1.0 + i, desk.now, "test")
    path = "/api/v1/transaction-history"
    seen, offset = [], {}
    while True:
        part = desk.call("GET", path, maxCount=2, **offset)
        seen += [row["offset"] for row in part["dataList"]]
        if not part["hasMore"]:
            break
        offset = {"offset": seen[-1]}
    assert seen == [6, 5, 4, 3, 2, 1]
    back = desk.call("GET", path, maxCount=2, offset=3, forward="false")
    assert [row["offset"] for row in back["dataList"]] == [5, 4]


def test_an_open_position_stands_before_the_ledger_as_pending() -> None:
    desk = Desk(100.0)
    desk.trade(size=10)
    path = "/api/v1/transaction-history"
    pending, deposit = desk.call("GET", path, currency="USDT")["dataList"]
    assert (pending["status"], pending["type"], pending["offset"]) == ("Pending", "RealisedPNL", -1)
    assert (pending["fee"], pending["remark"], pending["time"]) == (None, SYMBOL, desk.now)
    assert pending["amount"] == pytest.approx(-0.0006 * 1_001.0)
    assert (deposit["type"], deposit["status"]) == ("TransferIn", "Completed")
    for elsewhere in ({"offset": 2}, {"type": "TransferIn"}, {"endAt": desk.now - 1}):
        rows = desk.call("GET", path, currency="USDT", **elsewhere)["dataList"]
        assert "Pending" not in [row["status"] for row in rows]
    desk.trade(**CLOSE, size=10)
    newest = desk.call("GET", path, currency="USDT")["dataList"][0]
    assert (newest["status"], newest["type"]) == ("Completed", "RealisedPNL")


def test_another_currency_is_empty() -> None:
    desk = Desk(100.0)
    desk.trade()
    seen = desk.call("GET", "/api/v1/account-overview", currency="XBT")
    assert (seen["currency"], seen["accountEquity"]) == ("XBT", 0.0)
    assert desk.call("GET", "/api/v1/account-overview") == seen  # the exchange's default
    assert desk.call("GET", "/api/v1/positions", currency="USDC") == []
    assert desk.call("GET", "/api/v1/transaction-history", currency="XBT")["dataList"] == []


@pytest.mark.parametrize(
    "wrong", [{"amount": "0"}, {"amount": "-5"}, {"amount": "x"}, {"currency": "XBT"}]
)
def test_wrong_transfers_are_refused(wrong: dict[str, str]) -> None:
    body = {"currency": "USDT", "amount": "5"} | wrong
    with pytest.raises(RefusedError, match="100001"):
        Desk(100.0).call("POST", "/api/v1/transfer-in", body)


def test_the_largest_order_follows_from_what_is_free() -> None:
    desk = Desk(100.0)
    path = "/api/v2/getMaxOpenSize"
    seen = desk.call("GET", path, symbol=SYMBOL, price=125, leverage=2)
    assert (seen["maxBuyOpenSize"], seen["maxSellOpenSize"]) == (160, 160)
    with pytest.raises(RefusedError, match="100001"):
        desk.call("GET", path, symbol=SYMBOL, price=-1)


def test_realised_results_of_a_part() -> None:
    desk = Desk(100.0, depth=1_000)
    desk.trade(size=10)
    desk.trade(**CLOSE, size=4)
    [row] = desk.call("GET", "/api/v1/positions")
    paid = 0.0006 * (10 * 100.1 + 4 * 99.9)
    assert row["currentComm"] == pytest.approx(paid)
    assert row["realisedGrossPnl"] == -row["realisedGrossCost"] == pytest.approx(-0.8)
    assert row["realisedPnl"] == -row["realisedCost"] == pytest.approx(-0.8 - paid)
    assert row["posMaint"] == pytest.approx(6 * 100.1 * (0.01 + 0.0006))


@pytest.mark.parametrize("path", ["/api/v1/fills", "/api/v1/orders"])
def test_what_is_over_is_asked_for_by_the_day(path: str) -> None:
    desk = Desk(100.0)
    order, began = desk.trade(), desk.now
    desk.step(6 * DAY_MS)

    def count(**times: int) -> int:
        found: int = desk.call("GET", path, **times)["totalNum"]
        return found

    assert count(startAt=began - DAY_MS) == 1  # the end is a day later
    assert count(startAt=began - DAY_MS - 1) == 0
    assert count(endAt=began + DAY_MS) == 1  # the start is a day before
    assert count(endAt=began + DAY_MS + 1) == 0
    assert count(startAt=began - DAY_MS, endAt=began + 6 * DAY_MS) == 1
    with pytest.raises(RefusedError, match="7 days"):
        count(startAt=began - DAY_MS - 1, endAt=began + 6 * DAY_MS)
    assert desk.call("GET", "/api/v1/fills")["totalNum"] == 0  # the last day
    of_order = {"orderId": order.order_id, "startAt": desk.now}  # the id alone counts
    assert desk.call("GET", "/api/v1/fills", **of_order)["totalNum"] == 1


def test_what_is_recent_is_of_the_last_day() -> None:
    desk = Desk(100.0)
    desk.trade()
    assert len(desk.call("GET", "/api/v1/recentFills")) == 1
    assert len(desk.call("GET", "/api/v1/recentDoneOrders")) == 1
    desk.step(DAY_MS + 1)
    assert desk.call("GET", "/api/v1/recentFills") == []
    assert desk.call("GET", "/api/v1/recentDoneOrders") == []


def test_lists_are_filtered() -> None:
    desk = Desk(100.0)
    order = desk.trade(size=3)
    desk.step(10)
    desk.trade(**CLOSE, size=1)
    fills = "/api/v1/fills"
    assert desk.call("GET", fills, orderId=order.order_id)["totalNum"] == 1
    assert desk.call("GET", fills, side="sell")["totalNum"] == 1
    assert desk.call("GET", fills, startAt=desk.now)["totalNum"] == 1
    assert desk.call("GET", fills, symbol=SYMBOL)["totalNum"] == 2
    for wanted in ({"side": "sell"}, {"type": "market", "startAt": desk.now}):
        assert desk.call("GET", "/api/v1/orders", status="done", **wanted)["totalNum"] == 1
    with pytest.raises(RefusedError, match="100003"):
        desk.call("GET", fills, symbol="NOUSDTM")


def test_margin_mode_changes_without_orders_and_positions_only() -> None:
    desk = Desk(100.0)
    body = {"symbol": SYMBOL, "marginMode": "CROSS"}
    path = "/api/v2/position/changeMarginMode"
    assert desk.call("POST", path, body) == body
    assert desk.call("GET", "/api/v2/position/getMarginMode", symbol=SYMBOL) == body
    assert desk.refused() == "330005"
    desk.trade(marginMode="CROSS")
    [row] = desk.call("GET", "/api/v1/positions")
    assert row["crossMode"]
    assert "realLeverage" not in row
    with pytest.raises(RefusedError, match="50002"):
        desk.call("POST", path, body | {"marginMode": "ISOLATED"})


def test_position_mode_and_leverage_are_settings() -> None:
    desk = Desk(100.0)
    path = "/api/v2/position/switchPositionMode"
    assert desk.call("POST", path, {"positionMode": "1"}) == {"positionMode": 1}
    assert desk.refused() == desk.refused(positionSide="BOTH") == "330012"
    assert desk.refused(positionSide="UP") == "100001"
    desk.trade(positionSide="LONG")
    with pytest.raises(RefusedError, match="50002"):
        desk.call("POST", path, {"positionMode": "0"})
    leverage = {"symbol": SYMBOL, "leverage": "5"}
    assert desk.call("POST", "/api/v2/changeCrossUserLeverage", leverage) is True
    assert desk.call("GET", "/api/v2/getCrossUserLeverage", symbol=SYMBOL) == leverage
    with pytest.raises(RefusedError, match="300016"):
        desk.call("POST", "/api/v2/changeCrossUserLeverage", leverage | {"leverage": "51"})


def test_what_the_simulator_does_not_have_says_so() -> None:
    desk = Desk(100.0)
    with pytest.raises(RefusedError, match="200000 Position does not exist"):
        desk.call("POST", "/api/v1/margin/withdrawMargin", {"symbol": SYMBOL})
    desk.trade()
    with pytest.raises(RefusedError, match="not part of the simulator"):
        desk.call(
            "POST", "/api/v1/position/margin/deposit-margin", {"symbol": SYMBOL, "margin": "91"}
        )
