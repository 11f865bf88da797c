"""The account as KuCoin sends it: what is understood, and that nothing else passes."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters import kucoin_parse as parse
from bot.adapters.kucoin_fields import (
    Fields,
    MalformedReplyError,
    to_number,
    wire_index,
    wire_symbol,
)
from bot.core.errors import InputError
from bot.core.messages import FundingSettled, Liquidated, OrderFilled
from bot.core.observations import Takeover, Transferred
from bot.core.reconcile import Holding, OrderReport
from tests.support.kucoin_samples import (
    ANYTHING,
    FILL,
    FUNDING,
    JUNK,
    ORDER,
    OVERVIEW,
    POSITION,
    TRANSFER,
    changed,
    sound,
    spoiled,
    without,
)

INDEX = wire_index(("BTC-USDT-PERP", "ETH-USDT-PERP"))
ID = "236655147005071361"


# Names.


def test_symbols_are_translated() -> None:
    assert INDEX == {"XBTUSDTM": 0, "ETHUSDTM": 1}
    assert wire_symbol("1000BONK-USDT-PERP") == "1000BONKUSDTM"


@pytest.mark.parametrize("name", ["BTC-USDC-PERP", "XBT-USDT-PERP", "btc-USDT-PERP", "-USDT-PERP"])
def test_a_name_that_kucoin_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="symbol: expected"):
        wire_symbol(name)


# The envelope and lists.


def test_the_envelope_is_opened() -> None:
    assert parse.envelope({"code": "200000", "data": []}) == []
    assert parse.envelope({"code": "200000", "data": False}) is False


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("<html>maintenance</html>", "fills: expected an object, was '<html>maintenance"),
        (None, "fills: expected an object, was None"),
        ({"code": "200000", "data": None}, "fills: data: expected a value, was None"),
        ({"code": "200000"}, "fills: data: expected a value, was missing"),
        ({"code": 200000, "data": []}, "fills: code: expected a text, was 200000"),
        ({"code": "300003", "data": []}, "fills: code: expected 200000, was '300003'"),
    ],
)
def test_a_reply_without_data_is_malformed(reply: object, error: str) -> None:
    with pytest.raises(MalformedReplyError) as caught:
        parse.envelope(reply, "fills")
    assert str(caught.value).startswith(error)
    assert caught.value.exit_code == 75


def page(items: list[Any], number: int, pages: int, total: int) -> dict[str, Any]:
    return {
        "currentPage": number,
        "pageSize": 50,
        "totalNum": total,
        "totalPage": pages,
        "items": items,
    }


def test_pages_are_read() -> None:
    assert parse.page(page([1, 2], 1, 3, 120)) == ([1, 2], 3)
    assert parse.page(page([], 1, 0, 0)) == ([], 0)
    assert parse.page(page([], 1, 1, 0)) == ([], 1)
    assert parse.page(page([], 4, 3, 120)) == ([], 3)  # the list has become shorter


@pytest.mark.parametrize(
    "data",
    [
        page([], 1, 3, 120),  # rows are counted and none is shown
        page([1], 1, 0, 1),
        page([1], 1, 1, 0),
        page([], 0, 0, 0),
        page([], 1, -1, 0),
        changed(page([], 1, 0, 0), items=None),
        changed(page([], 1, 0, 0), items={}),
        changed(page([], 1, 0, 0), totalPage=None),
        [],
        None,
    ],
)
def test_a_page_that_contradicts_itself_is_malformed(data: object) -> None:
    with pytest.raises(MalformedReplyError):
        parse.page(data)


def test_histories_say_whether_there_is_more() -> None:
    assert parse.data_list({"dataList": [1], "hasMore": True}) == ([1], True)
    wrong: list[Any] = [{"dataList": None, "hasMore": False}, {"dataList": []}, []]
    for data in wrong:
        with pytest.raises(MalformedReplyError):
            parse.data_list(data)


# Orders.


def test_the_answer_to_an_order_gives_its_id() -> None:
    assert parse.order_id_of({"orderId": ID, "clientOid": "a-1"}, "a-1") == ID
    assert parse.order_id_of({"orderId": ID}, "a-1") == ID
    for data in ({"orderId": ID, "clientOid": "a-2"}, {"orderId": None}, {"orderId": ""}, {}, None):
        with pytest.raises(MalformedReplyError, match="answer to order a-1"):
            parse.order_id_of(data, "a-1")


def test_an_order_is_reported() -> None:
    assert parse.order(ORDER, INDEX) == (OrderReport("a1b2c3-41-target", 0, True, 1.0), ID)
    texts = changed(ORDER, size="3", filledSize="2")
    assert parse.order(texts, INDEX)[0].filled == 2.0


@pytest.mark.parametrize(
    ("changes", "resting"),
    [
        ({"isActive": False, "status": "done", "filledSize": 3}, False),
        ({"isActive": False, "status": "done", "filledSize": 0}, False),
        ({"isActive": False, "status": "done", "cancelExist": True}, False),
        # Being cancelled, or cut by a reduction of the position, it may still trade.
        ({"isActive": True, "cancelExist": True}, True),
        # The two disagree: what may still trade is not given up.
        ({"isActive": False, "status": "open"}, True),
        ({"isActive": False, "status": None}, False),
    ],
)
def test_an_order_rests_as_long_as_it_may_trade(changes: dict[str, Any], resting: bool) -> None:
    report, _ = parse.order(changed(ORDER, **changes), INDEX)
    assert report.resting is resting
    assert report.refusal == ""


def test_what_is_on_a_list_of_open_orders_rests() -> None:
    stop = changed(ORDER, isActive=False, status="done", stop="down", stopPrice="59000")
    assert not parse.order(stop, INDEX)[0].resting
    assert parse.order(stop, INDEX, listed=True)[0].resting


def test_an_order_without_client_id_is_known_by_its_id_or_is_foreign() -> None:
    for client_oid in (None, ""):
        report, order_id = parse.order(changed(ORDER, clientOid=client_oid), INDEX)
        assert report.client_id == order_id == ID
        report, _ = parse.order(changed(ORDER, clientOid=client_oid), INDEX, {ID: "a1b2c3-41-stop"})
        assert report.client_id == "a1b2c3-41-stop"


def test_an_order_of_another_contract_belongs_to_no_symbol_of_ours() -> None:
    by_hand = changed(ORDER, symbol="XBTUSDM", size=None, closeOrder=True, clientOid=None)
    assert parse.order(by_hand, INDEX)[0].symbol == -1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", None),
        ("symbol", None),
        ("isActive", None),
        ("isActive", "true"),
        ("filledSize", None),
        ("filledSize", 4),
        ("filledSize", -1),
        ("filledSize", 0.5),
        ("filledSize", "one"),
        ("clientOid", 5),
        ("clientOid", "a\nb"),
        ("status", 1),
    ],
)
def test_a_wrong_field_of_an_order_is_named(name: str, value: object) -> None:
    with pytest.raises(MalformedReplyError, match=f"^order.*: {name}: expected"):
        parse.order(changed(ORDER, **{name: value}), INDEX)


# Fills.


def test_a_fill_of_ours() -> None:
    assert parse.order_id_of_fill(FILL) == "284486580251463680"
    assert parse.fill_id(FILL) == "1828954878212"
    assert parse.fill(FILL, INDEX, "a-1") == OrderFilled(
        1740640088427, "a-1", "1828954878212", 2.0, 86275.1, 0.10353012, 0, 1
    )


def test_a_maker_that_receives_pays_a_negative_fee() -> None:
    sold = changed(FILL, side="sell", fee=-0.02, size="2")
    event = parse.fill(sold, INDEX, "a-1")
    assert isinstance(event, OrderFilled)
    assert (event.side, event.fee, event.contracts) == (-1, -0.02, 2.0)


def test_a_fee_in_another_currency_is_not_paid_by_the_wallet() -> None:
    assert parse.fill(changed(FILL, feeCurrency="KCS"), INDEX, "a-1").fee == 0.0


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("liquid", Takeover.LIQUIDATION),
        ("liquidation", Takeover.LIQUIDATION),
        ("Liquidation", Takeover.LIQUIDATION),
        ("adl", Takeover.ADL),
        ("ADL", Takeover.ADL),
        ("settlement", Takeover.SETTLEMENT),
    ],
)
def test_what_the_exchange_takes_over_is_a_liquidation(kind: str, way: Takeover) -> None:
    taken = changed(FILL, tradeType=kind)
    assert parse.fill(taken, INDEX, "order") == Liquidated(
        1740640088427, 0, 2.0, 86275.1, 0.10353012, "1828954878212", way
    )
    elsewhere = parse.fill(changed(taken, symbol="SOLUSDTM"), INDEX, "order")
    assert isinstance(elsewhere, OrderFilled)  # Liquidated would need a position of ours
    assert elsewhere.symbol == -1


def test_a_trade_type_that_is_new_is_a_liquidation_unless_the_order_is_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    new = changed(FILL, tradeType="delivery")
    taken = parse.fill(new, INDEX, "")
    assert isinstance(taken, Liquidated)
    assert taken.way is Takeover.LIQUIDATION
    assert "'delivery'" in caplog.text
    assert parse.fill(new, INDEX, "a-1") == parse.fill(FILL, INDEX, "a-1")
    elsewhere = parse.fill(changed(new, symbol="SOLUSDTM"), INDEX, "")
    assert isinstance(elsewhere, OrderFilled)
    assert parse.fill(changed(FILL, tradeType="TRADE"), INDEX, "") == parse.fill(FILL, INDEX, "")


def test_the_time_of_a_fill_is_found_where_it_is() -> None:
    assert parse.fill_ms(changed(FILL, createdAt=None)) == 1740640088244
    assert parse.fill_ms(changed(FILL, tradeTime=None)) == 1740640088427
    for wrong in ({"createdAt": 1740640088}, {"createdAt": None, "tradeTime": 1740640088244}):
        with pytest.raises(MalformedReplyError, match="expected a time in"):
            parse.fill_ms(changed(FILL, **wrong))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tradeId", None),
        ("tradeId", 0),
        ("symbol", ""),
        ("side", "short"),
        ("side", None),
        ("price", 0),
        ("price", "nan"),
        ("size", 0),
        ("size", -2),
        ("size", 1.5),
        ("size", True),
        ("fee", None),
        ("feeCurrency", None),
        ("tradeType", None),
        ("tradeType", 7),
        ("createdAt", "soon"),
    ],
)
def test_a_wrong_field_of_a_fill_is_named(name: str, value: object) -> None:
    with pytest.raises(MalformedReplyError, match=f"^fill.*: {name}: expected"):
        parse.fill(changed(FILL, **{name: value}), INDEX, "a-1")


# Positions.


def test_positions_are_net_and_by_symbol() -> None:
    long = changed(POSITION, symbol="XBTUSDTM", currentQty="3", markPrice="60000.5")
    other = changed(POSITION, symbol="SOLUSDTM", currentQty=5, markPrice=None)
    flat = changed(other, symbol="XRPUSDTM", currentQty=0, isOpen=False)
    found, foreign = parse.positions([POSITION, long, other, flat], INDEX)
    assert found == {1: Holding(-1, 7.0, 2445.35), 0: Holding(1, 3.0, 60000.5)}
    assert foreign == ("SOLUSDTM",)
    assert parse.positions([other, other], INDEX) == ({}, ("SOLUSDTM",))
    assert parse.positions([], INDEX) == ({}, ())
    closed = changed(POSITION, currentQty=0, isOpen=False)
    assert parse.positions([closed], INDEX)[0] == {1: Holding(0, 0.0, 2445.35)}


@pytest.mark.parametrize("symbol", ["ETHUSDTM", "SOLUSDTM"])
@pytest.mark.parametrize("side", ["LONG", "SHORT"])
def test_hedge_mode_is_named(symbol: str, side: str) -> None:
    with pytest.raises(MalformedReplyError, match=r"hedge mode: switch it to one-way mode"):
        parse.positions([changed(POSITION, symbol=symbol, positionSide=side)], INDEX)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        "<html>",
        [None],
        [[]],
        [POSITION, POSITION],
        [changed(POSITION, isOpen=False)],
        [changed(POSITION, isOpen=None)],
        [changed(POSITION, currentQty=0)],
        [changed(POSITION, currentQty=None)],
        [changed(POSITION, currentQty=0.5)],
        [changed(POSITION, currentQty="")],
        [changed(POSITION, currentQty=True)],
        [changed(POSITION, markPrice=None)],
        [changed(POSITION, markPrice=0)],
        [changed(POSITION, markPrice=-1.0)],
        [changed(POSITION, positionSide=None)],
        [without(POSITION, "symbol")],
    ],
)
def test_doubtful_positions_are_never_flat(data: object) -> None:
    with pytest.raises(MalformedReplyError):
        parse.positions(data, INDEX)


# Money.


def test_the_wallet_is_the_equity_without_unrealised_profit() -> None:
    money = parse.overview(OVERVIEW)
    assert money.wallet == pytest.approx(OVERVIEW["marginBalance"], abs=1e-9)
    assert (money.available, money.equity) == (289.939280806, 394.439280806)
    for name in ("accountEquity", "unrealisedPNL", "availableBalance", "currency"):
        for junk in JUNK[:3]:
            with pytest.raises(MalformedReplyError, match=f"account overview: {name}: expected"):
                parse.overview(changed(OVERVIEW, **{name: junk}))
    with pytest.raises(MalformedReplyError, match="currency: expected USDT, was 'XBT'"):
        parse.overview(changed(OVERVIEW, currency="XBT"))


def test_funding_is_received_when_positive() -> None:
    event = FundingSettled(1731470400000, 1, 0.1097, "funding-1472387374042586")
    assert parse.funding(FUNDING, INDEX) == event
    paid = parse.funding(changed(FUNDING, funding="-4.64E-6", id="1472387374042586"), INDEX)
    assert (paid.amount, paid.entry_id) == (-4.64e-6, event.entry_id)
    for wrong in ({"symbol": "SOLUSDTM"}, {"settleCurrency": "XBT"}, {"id": -1}, {"timePoint": 0}):
        with pytest.raises(MalformedReplyError, match=r"^funding"):
            parse.funding(changed(FUNDING, **wrong), INDEX)


@pytest.mark.parametrize(
    ("kind", "amount", "booked"),
    [
        ("TransferIn", 40, 40.0),
        ("TransferOut", 5, -5.0),
        ("TransferOut", -14.0, -14.0),
        ("Deposit", "7.5", 7.5),
        ("Withdrawal", 2.0, -2.0),
    ],
)
def test_transfers_are_signed_by_their_kind(kind: str, amount: object, booked: float) -> None:
    row = changed(TRANSFER, type=kind, amount=amount)
    assert parse.transfer(row) == Transferred(1733330400000, "transfer-51360793", booked)


def test_rows_that_are_no_completed_transfer_are_left_out() -> None:
    profit = changed(TRANSFER, type="RealisedPNL", status="Pending", offset=-1, currency=None)
    assert parse.transfer(profit) is None
    assert parse.transfer(changed(TRANSFER, status="Pending", offset=-1)) is None
    for wrong in (
        {"type": None},
        {"status": None},
        {"offset": -1},
        {"currency": "XBT"},
        {"amount": None},
        {"type": "TransferIn", "amount": -5},
        {"time": 1733330400},
    ):
        with pytest.raises(MalformedReplyError):
            parse.transfer(changed(TRANSFER, **wrong))


# Numbers.


@pytest.mark.parametrize("junk", [value for value in JUNK if value not in ("-5", "2.0E-4")])
def test_only_numbers_are_numbers(junk: object) -> None:
    number = to_number(junk)
    assert number is None or (number == junk and not isinstance(junk, bool | str))


def test_large_integers_are_read_exactly() -> None:
    fields = Fields({"a": 1729236185885647952, "b": "1729236185885647952", "c": 1.5}, "x")
    assert fields.integer("a") == fields.integer("b") == 1729236185885647952
    with pytest.raises(MalformedReplyError, match=r"x: c: expected an integer, was 1.5"):
        fields.integer("c")


# Whatever comes: a sound result or MalformedReplyError.

PARSERS: list[tuple[Callable[[Any], object], dict[str, Any]]] = [
    (parse.envelope, {"code": "200000", "data": 1}),
    (parse.page, page([], 1, 0, 0)),
    (parse.data_list, {"dataList": [], "hasMore": False}),
    (lambda value: parse.order_id_of(value, "a-1"), {"orderId": ID, "clientOid": "a-1"}),
    (lambda value: parse.order(value, INDEX, {ID: "a-1"}), ORDER),
    (lambda value: parse.fill(value, INDEX, "a-1"), FILL),
    (parse.order_id_of_fill, FILL),
    (lambda value: parse.positions([value], INDEX), POSITION),
    (parse.overview, OVERVIEW),
    (lambda value: parse.funding(value, INDEX), FUNDING),
    (parse.transfer, TRANSFER),
]
LISTS = (parse.envelope, parse.page, parse.data_list)


def check(parser: Callable[[Any], object], value: object) -> None:
    try:
        result = parser(value)
    except MalformedReplyError as error:
        result = str(error)
    assert parser in LISTS or sound(result), result


@pytest.mark.parametrize(("parser", "sample"), PARSERS)
@settings(max_examples=50)
@given(data=st.data())
def test_spoiled_objects(
    parser: Callable[[Any], object], sample: dict[str, Any], data: st.DataObject
) -> None:
    check(parser, data.draw(spoiled(sample)))


@pytest.mark.parametrize(("parser", "sample"), PARSERS)
@settings(max_examples=25)
@given(value=ANYTHING)
def test_arbitrary_json(
    parser: Callable[[Any], object], sample: dict[str, Any], value: object
) -> None:
    check(parser, value)
    check(parser, dict.fromkeys(sample, value))
    check(lambda rows: parse.positions(rows, INDEX), value)
