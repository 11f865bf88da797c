"""Isolated margin of the wire simulator that is added to a position, or taken out of it."""

from typing import Any

import pytest

from ops.exchange.news import POSITION, WALLET
from ops.exchange.refusal import RefusedError
from tests.support.wire_desk import SYMBOL, Desk

ADD, TAKE = "/api/v1/position/margin/deposit-margin", "/api/v1/margin/withdrawMargin"
MOST = "/api/v1/margin/maxWithdrawMargin"


def holding(**fields: Any) -> Desk:
    """Return a desk with 10 contracts from 100.1, at leverage 10."""
    desk = Desk(100.0, (100.0, 90.5), 90.5)
    desk.trade(size=10, **fields)
    return desk


def add(desk: Desk, amount: object) -> Any:
    return desk.call("POST", ADD, {"symbol": SYMBOL, "margin": amount, "bizNo": "b"})


def take(desk: Desk, amount: object) -> Any:
    return desk.call("POST", TAKE, {"symbol": SYMBOL, "withdrawAmount": amount})


def test_added_margin_is_tied_up_and_moves_the_liquidation_away() -> None:
    desk = holding()
    account = desk.wire.account
    before, free = account.position(0, desk.now), account.available()
    after = add(desk, "50")
    assert after["posMargin"] == pytest.approx(before["posMargin"] + 50.0)
    assert account.available() == pytest.approx(free - 50.0)
    assert account.ledger.wallet == account.overview()["marginBalance"]
    assert before["liquidationPrice"] > 90.5 > after["liquidationPrice"]
    assert desk.told(f"{POSITION}:{SYMBOL}")[-1]["changeReason"] == "marginChange"
    desk.bars(2)
    assert float(desk.told(WALLET)[-1]["isolatedPosMargin"]) > 100.0
    assert account.ledger.held[0].contracts == 10


def test_without_it_the_position_is_liquidated() -> None:
    desk = holding()
    desk.bars(2)
    assert desk.wire.account.ledger.held[0].contracts == 0


def test_margin_is_taken_out_down_to_the_highest_leverage() -> None:
    desk = holding()
    account = desk.wire.account
    most = desk.call("GET", MOST, symbol=SYMBOL)
    free = account.available()
    with pytest.raises(RefusedError, match="100001 withdrawAmount: expected at most"):
        take(desk, str(float(most) + 0.01))
    assert take(desk, most) == most
    assert account.available() == pytest.approx(free + float(most))
    assert account.ledger.held[0].leverage <= account.exchange.specs[0].max_leverage
    assert float(desk.call("GET", MOST, symbol=SYMBOL)) == pytest.approx(0.0, abs=1e-7)


def test_a_flat_symbol_has_no_margin_to_give() -> None:
    desk = Desk(100.0)
    assert desk.call("GET", MOST, symbol=SYMBOL) == "0"
    for move in (add, take):
        with pytest.raises(RefusedError, match="200000 Position does not exist"):
            move(desk, "1")


@pytest.mark.parametrize("amount", ["0", "-1", "nan", None, "much"])
def test_an_amount_has_to_make_sense(amount: object) -> None:
    desk = holding()
    for move in (add, take):
        with pytest.raises(RefusedError, match="100001"):
            move(desk, amount)


def test_margin_needs_money_and_an_isolated_position() -> None:
    desk = Desk(100.0, balance=120.0)
    desk.trade(size=10)
    with pytest.raises(RefusedError, match="300003"):
        add(desk, "50")
    desk = Desk(100.0)
    desk.wire.account.margin_modes[0] = "CROSS"
    desk.trade(marginMode="CROSS")
    with pytest.raises(RefusedError, match="330005"):
        add(desk, "1")


def test_with_cross_margin_the_leverage_of_the_contract_counts() -> None:
    desk = Desk(100.0)
    desk.call(
        "POST", "/api/v2/position/changeMarginMode", {"symbol": SYMBOL, "marginMode": "CROSS"}
    )
    desk.call("POST", "/api/v2/changeCrossUserLeverage", {"symbol": SYMBOL, "leverage": "4"})
    order = desk.trade(size=10, leverage=20, marginMode="CROSS")
    [row] = desk.call("GET", "/api/v1/positions")
    assert (order.leverage, row["leverage"]) == (4.0, 4.0)
    assert row["posInit"] == pytest.approx(1_001.0 / 4)


@pytest.mark.parametrize(("first", "second"), [(1, 10), (10, 1), (7, 7)])
def test_what_is_added_brings_the_margin_of_its_own_leverage(first: int, second: int) -> None:
    desk = Desk(100.0)
    desk.trade(size=10, leverage=first)
    desk.trade(size=40, leverage=second)
    [row] = desk.call("GET", "/api/v1/positions")
    margin = 1_001.0 / first + 4_004.0 / second
    assert (row["posInit"], row["posMargin"]) == pytest.approx((margin, margin))
    account = desk.wire.account
    assert account.available() == pytest.approx(account.ledger.wallet - margin)
    assert account.ledger.held[0].leverage == pytest.approx(5_005.0 / margin)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_order_that_can_only_reduce_reserves_no_margin(side: str) -> None:
    desk = Desk(100.0)
    desk.trade(side=side, size=500)
    free = desk.wire.account.available()
    other, price = ("sell", "104") if side == "buy" else ("buy", "96")
    order = desk.trade(side=other, type="limit", price=price, size=500, leverage=1)
    assert order.live
    seen = desk.call("GET", "/api/v1/account-overview", currency="USDT")
    assert (seen["orderMargin"], seen["availableBalance"]) == (0.0, free)
    more = desk.trade(side=side, size=400)  # paid from what is free
    assert more.filled == 400
