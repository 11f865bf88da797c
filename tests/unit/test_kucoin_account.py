"""When the account reader asks for what it need not ask for every time: funding and transfers."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from bot.adapters.exchange_clock import ExchangeClock
from bot.adapters.kucoin_account import AccountReader
from bot.adapters.kucoin_client import KucoinClient
from bot.core.market import HOUR_MS, MINUTE_MS
from bot.core.messages import FundingSettled, OrderFilled
from bot.core.observations import Transferred
from bot.core.reconcile import Snapshot
from tests.support.kucoin_samples import FILL, FUNDING, ORDER, OVERVIEW, TRANSFER, changed

START_MS = 1_740_600_000_000
SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP")
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
        self.reader = AccountReader(
            cast(KucoinClient, self), SYMBOLS, self.clock, START_MS - HOUR_MS
        )
        self.since_ms = START_MS

    async def read(self, call: str, params: Mapping[str, Any], *, weight: int) -> Any:
        """Answer one question; see KucoinClient.read."""
        self.asked[call] += 1
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
            "RecentFills": self.fills,
            "Fills": {"items": self.fills, "currentPage": 1, "totalPage": 1, "totalNum": 1},
            "Positions": [],
            "AccountOverview": money,
            "OrdersOrderId": changed(ORDER, id=FILL["orderId"], isActive=False, status="done"),
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
