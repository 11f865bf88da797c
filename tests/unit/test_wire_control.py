"""The control endpoint of the wire simulator: truth, time, outsiders, market, beginning anew."""

import asyncio
from typing import Any

import pytest

from bot.core.errors import InputError
from ops.exchange import control
from ops.exchange.refusal import RefusedError
from ops.exchange.wire import Wire
from tests.support.wire_desk import MINUTE, PAST, START, Desk, options, source

BTC = "BTC-USDT-PERP"


def ask(desk: Desk, action: control.Action, **body: Any) -> dict[str, Any]:
    """Do what a request to the control endpoint does."""
    done: dict[str, Any] = asyncio.run(action(desk.wire, body))  # type: ignore[arg-type]
    return done


def truth(desk: Desk) -> dict[str, Any]:
    return ask(desk, control.truth)


def outside(desk: Desk, do: str, **body: Any) -> dict[str, Any]:
    return ask(desk, control.outside, do=do, **body)


def change(desk: Desk, do: str, **body: Any) -> dict[str, Any]:
    return ask(desk, control.change_market, do=do, **body)


def test_truth_of_a_new_account() -> None:
    assert truth(Desk(100.0)) == {
        "now_ms": START + PAST * MINUTE,
        "wallet": 10_000.0,
        "equity": 10_000.0,
        "depth": 100,
        "quote_ms": MINUTE // 12,
        "orders": [],
        "positions": [],
        "fills": [],
        "finished": [],
        "funding": [],
        "requests": {},
        "duplicates": [],
        "sockets": [],
    }


def test_truth_shows_orders_on_their_way() -> None:
    desk = Desk(100.0, latency_ms=(30, 30))
    desk.place(clientOid="a", leverage=7)
    [order] = truth(desk)["orders"]
    assert order == {
        "client_id": "a",
        "order_id": "230000000000000001",
        "symbol": BTC,
        "role": "entry",
        "side": 1,
        "contracts": 1,
        "filled": 0,
        "price": 0.0,
        "stop": "",
        "stop_price": 0.0,
        "stop_price_type": "",
        "reduce_only": False,
        "leverage": 7.0,
        "stage": "transit",
    }
    desk.step(30)
    told = truth(desk)
    assert told["orders"] == []
    assert told["finished"] == [
        {"client_id": "a", "order_id": order["order_id"], "filled": 1, "refusal": ""}
    ]
    [position] = told["positions"]
    assert (position["side"], position["contracts"], position["leverage"]) == (1, 1, 7.0)


def test_time_is_moved() -> None:
    desk = Desk(100.0, 101.0, 102.0)
    assert ask(desk, control.advance, by_ms=10) == {"now_ms": START + PAST * MINUTE + 10}
    to_ms = START + (PAST + 2) * MINUTE
    assert ask(desk, control.advance, to_ms=to_ms) == {"now_ms": to_ms}
    assert desk.wire.market.exchange.last == [101.0]
    for wrong in ({}, {"by_ms": 1, "to_ms": 2}, {"by_ms": 1.5}, {"by_ms": True}, {"to_ms": 5}):
        with pytest.raises(InputError, match="advance"):
            ask(desk, control.advance, **wrong)


def test_time_goes_on_when_the_market_is_over() -> None:
    desk = Desk(100.0)
    ask(desk, control.advance, by_ms=60 * MINUTE)
    assert desk.trade().filled == 1


def test_time_that_runs_by_itself_cannot_be_moved() -> None:
    wire = Wire(options(source([100.0] * 9), speed=1.0), lambda event: None)
    with pytest.raises(InputError, match="--speed step"):
        asyncio.run(control.advance(wire, {"by_ms": 1}))


def test_a_person_trades_on_the_account() -> None:
    desk = Desk(100.0, 100.0)
    entered = outside(desk, "enter", symbol=BTC, side=-1, contracts=10)
    assert entered["client_id"].startswith("app")
    desk.step(0)
    outside(desk, "close", symbol="BTC/USDT:USDT", share=0.5)
    desk.step(0)
    [position] = truth(desk)["positions"]
    assert (position["side"], position["contracts"]) == (-1, 5)
    outside(desk, "close", symbol=BTC)
    desk.step(0)
    assert truth(desk)["positions"] == []
    with pytest.raises(RefusedError, match="300009"):
        outside(desk, "close", symbol=BTC)
    outside(desk, "enter", symbol=BTC, side="buy", contracts=2)
    desk.step(0)
    assert truth(desk)["positions"][0]["side"] == 1


@pytest.mark.parametrize(("size", "share", "rest"), [(10, 1.5, 5), (1, 1.5, 1), (4, 10, 36)])
@pytest.mark.parametrize("side", [1, -1])
def test_a_person_who_closes_more_than_is_held_turns_the_position_around(
    side: int, size: int, share: float, rest: int
) -> None:
    desk = Desk(100.0)
    outside(desk, "enter", symbol=BTC, side=side, contracts=size)
    desk.step(0)
    outside(desk, "close", symbol=BTC, share=share)
    desk.step(0)
    told = truth(desk)
    [position] = told["positions"]
    assert (position["side"], position["contracts"]) == (-side, rest)
    assert (told["fills"][-1]["contracts"], len(told["fills"])) == (size + rest, 2)
    outside(desk, "enter", symbol=BTC, side=side, contracts=rest + 2)
    desk.step(0)
    [position] = truth(desk)["positions"]
    assert (position["side"], position["contracts"]) == (side, 2)
    with pytest.raises(InputError, match="share: expected more than 0, 10 at most"):
        outside(desk, "close", symbol=BTC, share=11)


@pytest.mark.parametrize("side", [0, 1, -1])
def test_a_foreign_order_rests_beside_any_position(side: int) -> None:
    desk = Desk(100.0, 90.0)
    if side:
        outside(desk, "enter", symbol=BTC, side=side, contracts=1)
    name = outside(desk, "rest", symbol=BTC)["client_id"]
    desk.bars(2)
    assert [order["client_id"] for order in truth(desk)["orders"]] == [name]
    outside(desk, "cancel", client_id=name)
    desk.step(0)
    assert truth(desk)["orders"] == []
    with pytest.raises(RefusedError, match="100004"):
        outside(desk, "cancel", client_id=name)


def test_a_position_is_deleveraged_in_parts() -> None:
    desk = Desk(100.0)
    with pytest.raises(InputError, match="expected a position"):
        outside(desk, "adl", symbol=BTC)
    desk.trade(size=9)
    desk.trade(side="sell", size=9, type="limit", price="101", reduceOnly=True)
    for share in (0, 1.5, -1):
        with pytest.raises(InputError, match="share: expected more than 0, 1 at most"):
            outside(desk, "adl", symbol=BTC, share=share)
    wallet = truth(desk)["wallet"]
    outside(desk, "adl", symbol=BTC, share=0.5)
    told = truth(desk)
    assert told["positions"][0]["contracts"] == 5
    assert len(told["orders"]) == 1
    last = told["fills"][-1]
    assert (last["trade_type"], last["contracts"], last["price"]) == ("adl", 4, 100.0)
    assert told["wallet"] == pytest.approx(wallet - 0.4)  # 4 at 100.0, bought at 100.1; no fee
    outside(desk, "adl", symbol=BTC)
    told = truth(desk)
    assert (told["positions"], told["orders"]) == ([], [])


def test_a_liquidation_and_a_transfer_come_from_outside() -> None:
    desk = Desk(100.0)
    with pytest.raises(InputError, match="expected a position"):
        outside(desk, "liquidate", symbol=BTC)
    desk.trade(size=10)
    outside(desk, "liquidate", symbol=BTC)
    told = truth(desk)
    assert told["positions"] == []
    assert told["fills"][-1]["trade_type"] == "liquid"
    outside(desk, "transfer", amount=-100)
    assert truth(desk)["wallet"] == pytest.approx(told["wallet"] - 100.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"do": "dance", "symbol": BTC},
        {"do": "close"},
        {"do": "close", "symbol": "DOGE-USDT-PERP"},
        {"do": "close", "symbol": "nothing"},
        {"do": "close", "symbol": BTC, "share": "all"},
        {"do": "transfer", "amount": "much"},
        {"do": "transfer", "amount": float("nan")},
        {"do": "transfer", "amount": float("-inf")},
        {"do": "transfer", "amount": 10**400},
        {},
    ],
    ids=str,
)
def test_wrong_wishes_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        ask(Desk(100.0), control.outside, **wrong)


def test_an_order_on_its_way_when_its_contract_is_delisted_opens_nothing() -> None:
    desk = Desk(100.0, 100.0, latency_ms=(50, 50))
    order = desk.place(size=5)
    change(desk, "delist", symbol=BTC)
    desk.step(1_000)
    assert (order.filled, order.cancelled, "200003" in order.refusal) == (0, True, True)
    assert truth(desk)["positions"] == []


def test_a_delisted_contract_is_settled() -> None:
    desk = Desk(100.0, 100.0)
    desk.trade(size=10)
    desk.trade(side="sell", size=1, type="limit", price="101", reduceOnly=True)
    change(desk, "delist", symbol=BTC)
    desk.step(0)
    told = truth(desk)
    assert (told["positions"], told["orders"]) == ([], [])
    assert (told["fills"][-1]["trade_type"], told["fills"][-1]["price"]) == ("settlement", 100.0)
    assert desk.refused() == "200003"
    assert desk.call("GET", "/api/v1/contracts/active") == []
    assert desk.call("GET", "/api/v1/allTickers") == []
    with pytest.raises(RefusedError, match="200003"):
        desk.call("GET", "/api/v1/kline/query", symbol="XBTUSDTM", granularity=1)
    assert desk.call("GET", "/api/v1/contracts/{symbol}", symbol="XBTUSDTM")["status"] == "Closed"
    for do in ("resume", "pause"):
        with pytest.raises(InputError, match="expected a contract on the market"):
            change(desk, do, symbol=BTC)
    assert desk.refused() == "200003"


def test_a_new_tick_is_a_new_grid() -> None:
    desk = Desk(100.0)
    change(desk, "tick_size", symbol=BTC, tick=0.5)
    assert desk.refused(type="limit", price="99.9") == "100001"
    desk.trade(type="limit", price="99.5")
    for tick in (0, -1, "x"):
        with pytest.raises(InputError, match="tick: expected"):
            change(desk, "tick_size", symbol=BTC, tick=tick)


def test_the_largest_order_may_be_lowered() -> None:
    desk = Desk(100.0)
    change(desk, "largest_order", symbol=BTC, contracts=3)
    assert desk.refused(size=4) == "100001"
    desk.trade(size=3)
    for contracts in (0, 1.5, "x"):
        with pytest.raises(InputError, match="contracts: expected"):
            change(desk, "largest_order", symbol=BTC, contracts=contracts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"do": "account", "mode": "OTHER"},
        {"do": "margin_mode", "symbol": BTC},
        {"do": "position_mode", "mode": "1"},
        {"do": "position_mode", "mode": True},
        {"do": "position_mode", "mode": 2},
        {"do": "futures"},
        {"do": "futures", "enabled": "false"},
        {"do": "withdrawal", "enabled": 0},
        {"do": None},
    ],
    ids=str,
)
def test_wrong_changes_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        ask(Desk(100.0), control.change_market, **wrong)


def test_who_asks_for_something_else_is_told_what_there_is() -> None:
    desk = Desk(100.0)
    for action, some in (
        (control.outside, "adl, rest, enter, transfer"),
        (control.change_market, "delist, tick_size, account"),
    ):
        with pytest.raises(InputError, match=some):
            ask(desk, action, do="?")
    with pytest.raises(InputError, match="html, drop_before"):
        ask(desk, control.add_faults, faults=[{"kind": "?"}])


def test_faults_are_switched() -> None:
    desk = Desk(100.0)
    kinds = [{"kind": "outage"}, {"kind": "skew", "ms": 7_000}]
    assert ask(desk, control.add_faults, faults=kinds) == {"ids": [1, 2]}
    assert desk.call("GET", "/api/v1/timestamp") == desk.now + 7_000
    assert [f["kind"] for f in ask(desk, control.list_faults)["faults"]] == ["outage", "skew"]
    with pytest.raises(InputError, match="kind: expected one of"):
        ask(desk, control.add_faults, faults=[{"kind": "rain"}])
    assert ask(desk, control.clear_faults) == {}
    assert ask(desk, control.list_faults) == {"faults": []}


def test_a_reset_begins_anew() -> None:
    desk = Desk(100.0, 101.0, 102.0, 103.0)
    desk.trade(clientOid="a")
    desk.bars(3)
    change(desk, "account", mode="UNIFIED")
    change(desk, "pause", symbol=BTC)
    desk.wire.hub.connects.take(desk.now)
    answer = ask(desk, control.reset, balance=500, seed=9, skip=7, latency_ms=[20, 20], depth=3)
    assert answer == {"now_ms": START + 7 * MINUTE}
    told = truth(desk)
    assert (told["wallet"], told["fills"], told["finished"]) == (500.0, [], [])
    assert desk.wire.account_mode == "CLASSIC"
    assert desk.wire.hub.connects.window.used == 0
    assert desk.wire.market.exchange.last == [101.0]
    order = desk.place(clientOid="a", size=4)
    desk.step(19)
    assert not order.readable
    desk.step(1)
    assert order.value == pytest.approx(3 * 102.1 + 102.2)  # three of each level
    ask(desk, control.reset)
    assert desk.wire.setting.balance == 500.0  # what is not said stays


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": 1},
        {"balance": "x"},
        {"balance": None},
        {"balance": -1},
        {"balance": float("nan")},
        {"balance": 10**400},
        {"seed": 1.5},
        {"depth": float("inf")},
        {"depth": 0},
        {"skip": True},
        {"skip": -1},
        {"skip": 100},
        {"latency_ms": None},
        {"latency_ms": 2.5},
        {"latency_ms": True},
        {"latency_ms": [1]},
        {"latency_ms": [5, 1]},
        {"latency_ms": [-2, -1]},
        {"latency_ms": [True, True]},
    ],
    ids=str,
)
def test_a_wrong_reset_changes_nothing(wrong: dict[str, Any]) -> None:
    desk = Desk(100.0)
    desk.trade(clientOid="a")
    with pytest.raises(InputError, match="expected"):
        ask(desk, control.reset, **wrong)
    assert len(truth(desk)["fills"]) == 1


def test_the_same_seed_and_the_same_orders_give_the_same_account() -> None:
    def play() -> dict[str, Any]:
        desk = Desk(100.0, (100.0, 97.0), 101.0, latency_ms=(5, 4_000), depth=3)
        for i in range(8):
            desk.place(size=i + 1)
            desk.step(400)
        desk.bars(3)
        return truth(desk)

    assert play() == play()
