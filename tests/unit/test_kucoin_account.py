"""What the account reader asks for, and when; what a fill that is odd or refused does to a read."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import pytest

from bot.adapters.exchange_clock import ExchangeClock
from bot.adapters.kucoin_account import RECENT_ROWS, AccountReader
from bot.adapters.kucoin_client import KucoinClient, RefusedError
from bot.adapters.kucoin_errors import Treat, Verdict
from bot.core.errors import UnreachableError
from bot.core.market import HOUR_MS, MINUTE_MS
from bot.core.messages import FundingSettled, Liquidated, OrderFilled
from bot.core.observations import Transferred
from bot.core.reconcile import Snapshot
from tests.support.kucoin_samples import FILL, FUNDING, ORDER, OVERVIEW, POSITION, TRANSFER, changed

START_MS = 1_740_600_000_000
SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP")
ORDER_CALL = "futuresPrivateGetOrdersOrderId"
NO_ROWS: dict[str, Any] = {"items": [], "currentPage": 1, "totalPage": 0, "totalNum": 0}


class Clock(ExchangeClock):
    def __init__(self) -> None:
        super().__init__()
        self.at = START_MS

    def now(self) -> int:
        return self.at


class Account:
    """Answers as the exchange would, and a reader that asks."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.asked: Counter[str] = Counter()
        self.clock = Clock()
        self.fills: list[dict[str, Any]] = []
        self.funding: list[dict[str, Any]] = []
        self.transfers: list[dict[str, Any]] = []
        self.equity = 1_000.0
        self.client_id = "a1b2c3-41-target"
        """of every order that is looked up; a person's has none"""
        self.refused: dict[str, Verdict] = {}
        """what the exchange answers instead, by call"""
        self.reader = AccountReader(
            cast(KucoinClient, self), SYMBOLS, self.clock, START_MS - HOUR_MS
        )
        self.since_ms = START_MS

    async def read(self, call: str, params: Mapping[str, Any], **named: Any) -> Any:
        """Answer one question; see KucoinClient.read."""
        self.asked[call] += 1
        if call in self.refused:
            raise RefusedError(self.refused[call])
        name = call.removeprefix("futuresPrivateGet")
        if name in ("FundingHistory", "TransactionHistory"):
            rows = self.funding if name == "FundingHistory" else self.transfers
            time = "timePoint" if name == "FundingHistory" else "time"
            wanted = [
                row
                for row in rows
                if params["startAt"] <= row[time] <= params["endAt"]
                and params.get("symbol") in (None, row.get("symbol"))
            ]
            return {"hasMore": False, "dataList": wanted}
        money = changed(OVERVIEW, accountEquity=self.equity, unrealisedPNL=0.0)
        return {
            "Orders": NO_ROWS,
            "StopOrders": NO_ROWS,
            "RecentFills": self.fills[:RECENT_ROWS],
            "Fills": {"items": self.fills, "currentPage": 1, "totalPage": 1, "totalNum": 1},
            "Positions": [],
            "Position": changed(POSITION, currentQty=0, isOpen=False),
            "AccountOverview": money,
            "OrdersOrderId": changed(
                ORDER, id=params.get("orderId"), clientOid=self.client_id, isActive=False
            ),
        }[name]

    def snapshot(self, after_ms: int) -> Snapshot:
        """Let time pass and read what has happened since an hour before the last read."""
        self.clock.at += after_ms
        seen = asyncio.run(self.reader.read((), self.since_ms - HOUR_MS))
        self.since_ms = seen.now_ms
        return seen


def test_funding_of_a_position_that_nobody_saw_comes_with_its_fills() -> None:
    """An outage began as an entry was sent, and ended after its position had been closed."""
    account = Account()
    account.snapshot(0)
    account.snapshot(2 * MINUTE_MS)
    opened, settled = account.clock.at + MINUTE_MS, account.clock.at + 5 * HOUR_MS
    account.fills = [changed(FILL, createdAt=opened)]
    account.funding = [changed(FUNDING, symbol="XBTUSDTM", timePoint=settled)]
    seen = account.snapshot(12 * HOUR_MS)
    assert [type(entry) for entry in seen.entries] == [OrderFilled, FundingSettled]
    assert [type(entry) for entry in account.snapshot(2 * MINUTE_MS).entries] == []


def test_funding_of_what_is_flat_is_not_asked_for() -> None:
    account = Account()
    account.snapshot(0)
    asked = account.asked["futuresPrivateGetFundingHistory"]
    account.snapshot(2 * MINUTE_MS)
    assert account.asked["futuresPrivateGetFundingHistory"] == asked == len(SYMBOLS)


def test_a_transfer_is_in_the_read_after_the_wallet_has_moved() -> None:
    account = Account()
    account.snapshot(0)
    account.snapshot(2 * MINUTE_MS)
    account.snapshot(10_000)
    account.equity -= 14.0
    account.transfers = [changed(TRANSFER, time=account.clock.at + 5_000)]
    assert account.snapshot(10_000).entries == ()
    [moved] = account.snapshot(10_000).entries
    assert isinstance(moved, Transferred)
    assert moved.amount == -14.0
    asked = account.asked["futuresPrivateGetTransactionHistory"]
    account.snapshot(10_000)
    assert account.asked["futuresPrivateGetTransactionHistory"] == asked


def not_found() -> Verdict:
    return Verdict(Treat.NOT_FOUND, "100001", "order does not exist")


def test_a_trade_type_that_is_new_is_looked_up_fails_no_read_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    account = Account()
    account.client_id = ""
    rows = [changed(FILL, createdAt=START_MS, tradeType="delivery", tradeId=n) for n in "12"]
    account.fills = rows[:1]
    for _ in range(3):
        [taken] = account.snapshot(1_000).entries
        assert isinstance(taken, Liquidated)
    assert caplog.text.count("delivery") == 1
    account.fills = rows  # a further part of the same
    assert [type(entry) for entry in account.snapshot(1_000).entries] == [Liquidated] * 2
    assert account.asked[ORDER_CALL] == 1


def test_a_trade_of_an_order_from_before_a_restart_is_one_under_any_word() -> None:
    account = Account()
    account.fills = [changed(FILL, createdAt=START_MS, tradeType="auction")]
    [filled] = account.snapshot(1_000).entries
    assert isinstance(filled, OrderFilled)
    assert filled.client_id == account.client_id


def test_a_new_word_for_an_order_that_is_not_found_yet_fails_the_read_a_while() -> None:
    account = Account()
    account.refused = {ORDER_CALL: not_found()}
    account.fills = [changed(FILL, createdAt=START_MS, tradeType="auction")]
    with pytest.raises(UnreachableError, match="an order that traded"):
        account.snapshot(0)
    [taken] = account.snapshot(MINUTE_MS).entries
    assert isinstance(taken, Liquidated)


@pytest.mark.parametrize("word", ["liquid", "ADL", "settlement"])
def test_what_the_exchange_takes_over_costs_no_question(word: str) -> None:
    account = Account()
    account.fills = [changed(FILL, createdAt=START_MS, tradeType=word)]
    [taken] = account.snapshot(0).entries
    assert isinstance(taken, Liquidated)
    assert account.asked[ORDER_CALL] == 0


def test_a_trade_of_an_order_that_we_sent_is_one_under_any_word() -> None:
    account = Account()
    account.reader.learn("r1-7-entry", FILL["orderId"])
    account.fills = [changed(FILL, createdAt=START_MS, tradeType="auction")]
    [filled] = account.snapshot(1_000).entries
    assert isinstance(filled, OrderFilled)
    assert filled.client_id == "r1-7-entry"


@pytest.mark.parametrize(("more", "asked"), [(0, 1), (-1, 0), (3, 1)])
def test_more_fills_than_the_recent_ones_hold_are_all_booked(more: int, asked: int) -> None:
    """The list is newest first and ends after a thousand, without a word."""
    account = Account()
    account.snapshot(0)
    account.fills = [
        changed(FILL, tradeId=str(n), createdAt=START_MS + n) for n in range(RECENT_ROWS + more)
    ][::-1]
    seen = account.snapshot(2 * MINUTE_MS)
    assert len(seen.entries) == RECENT_ROWS + more
    assert account.asked["futuresPrivateGetFills"] == asked


@pytest.mark.parametrize("created_ms", [START_MS - HOUR_MS, START_MS - HOUR_MS - 1])
def test_what_was_before_the_bot_is_neither_parsed_nor_asked_about(created_ms: int) -> None:
    account = Account()
    account.refused = {ORDER_CALL: not_found()}
    account.fills = [changed(FILL, createdAt=created_ms, side="?", tradeType=None)]
    assert account.snapshot(0).entries == ()
    assert account.asked[ORDER_CALL] == 0


def test_fills_that_were_booked_before_a_restart_cost_no_question() -> None:
    account = Account()
    account.since_ms = START_MS + HOUR_MS
    rows = range(3)
    old = changed(FILL, createdAt=START_MS - 1)
    account.fills = [changed(old, tradeId=f"t{i}", orderId=f"o{i}") for i in rows]
    account.fills += [changed(FILL, tradeId="new", createdAt=START_MS)]
    [filled] = account.snapshot(0).entries
    assert (filled.entry_id, account.asked[ORDER_CALL]) == ("new", 1)


@pytest.mark.parametrize("kind", ["trade", "liquid"])
def test_what_trades_in_contracts_of_others_costs_no_question(kind: str) -> None:
    account = Account()
    account.refused = {ORDER_CALL: not_found()}
    account.fills = [changed(FILL, createdAt=START_MS, symbol="SOLUSDTM", tradeType=kind)]
    [filled] = account.snapshot(0).entries
    assert isinstance(filled, OrderFilled)
    assert (filled.symbol, filled.client_id) == (-1, FILL["orderId"])
    assert account.asked[ORDER_CALL] == 0


def test_an_order_of_ours_that_traded_and_is_not_found_yet_fails_the_read() -> None:
    account = Account()
    account.refused = {ORDER_CALL: not_found()}
    account.fills = [changed(FILL, createdAt=START_MS)]
    with pytest.raises(UnreachableError, match="an order that traded"):
        account.snapshot(0)
    account.refused = {}
    assert len(account.snapshot(0).entries) == 1


@pytest.mark.parametrize(
    "call",
    ["Orders", "StopOrders", "RecentFills", "Positions", "AccountOverview", "FundingHistory"],
)
def test_a_read_that_is_refused_has_failed(call: str) -> None:
    account = Account()
    answer = Verdict(Treat.NOT_CANCELABLE, "100004", "KuCoin 100004: order cannot be canceled")
    account.refused = {f"futuresPrivateGet{call}": answer}
    with pytest.raises(UnreachableError, match="100004"):
        account.snapshot(0)
    account.refused = {}
    assert account.snapshot(1_000).wallet == account.equity
