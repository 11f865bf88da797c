"""Lists of the account that are longer than one answer, and what is kept of them."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from bot.adapters import kucoin_account
from bot.adapters.exchange_clock import ExchangeClock
from bot.adapters.kucoin_account import RECENT_MS, ROWS, AccountReader
from bot.adapters.kucoin_client import KucoinClient
from bot.core.errors import UnreachableError
from bot.core.market import HOUR_MS
from bot.core.messages import FundingSettled, OrderFilled
from bot.core.reconcile import Snapshot
from tests.support.kucoin_samples import FILL, FUNDING, ORDER, OVERVIEW, changed

NOW_MS = 1_740_600_000_000
FOUNDED_MS = NOW_MS - 2 * RECENT_MS
MANY = 2 * kucoin_account.PAGE + 1

type Row = dict[str, Any]


def orders(kind: str) -> list[Row]:
    names = (f"{kind}{n}" for n in range(MANY))
    return [changed(ORDER, id=name, clientOid=f"r1-{name}") for name in names]


class Clock(ExchangeClock):
    def now(self) -> int:
        return NOW_MS


class Exchange:
    """Answers in pages, as the exchange does, and with `hasMore` for what comes in pieces."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.rows: dict[str, list[Row]] = {"Orders": [], "StopOrders": [], "Fills": []}
        self.funding: list[Row] = []
        self.reader = AccountReader(
            cast(KucoinClient, self), ("BTC-USDT-PERP",), Clock(), FOUNDED_MS
        )

    async def read(self, call: str, params: Mapping[str, Any], **named: Any) -> Any:
        """Answer one question; see KucoinClient.read."""
        name = call.removeprefix("futuresPrivateGet")
        if name in self.rows:
            size, number = params["pageSize"], params["currentPage"]
            rows = self.rows[name]
            shown = rows[(number - 1) * size : number * size]
            pages = -(-len(rows) // size)
            return {
                "items": shown,
                "currentPage": number,
                "totalPage": pages,
                "totalNum": len(rows),
            }
        if name in ("FundingHistory", "TransactionHistory"):
            rows = self.funding if name == "FundingHistory" else []
            ids = [str(row["id"]) for row in rows]
            begin = ids.index(params["offset"]) + 1 if "offset" in params else 0
            shown = rows[begin : begin + params["maxCount"]]
            return {"dataList": shown, "hasMore": begin + len(shown) < len(rows)}
        if name == "OrdersOrderId":
            return changed(ORDER, id=params["orderId"], clientOid="", isActive=False, status="done")
        lists: dict[str, Any] = {"RecentFills": [], "Positions": [], "Position": {}}
        return OVERVIEW if name == "AccountOverview" else lists[name]

    def snapshot(self) -> Snapshot:
        return asyncio.run(self.reader.read((), FOUNDED_MS))


@pytest.mark.parametrize("name", ["Orders", "StopOrders"])
def test_every_page_of_both_order_lists_is_read(name: str) -> None:
    exchange = Exchange()
    exchange.rows[name] = orders("o")
    seen = exchange.snapshot()
    assert {report.client_id for report in seen.open_orders} == {f"r1-o{n}" for n in range(MANY)}


def test_every_page_of_old_fills_is_read() -> None:
    exchange = Exchange()
    exchange.rows["Fills"] = [
        changed(FILL, tradeId=f"t{n}", createdAt=NOW_MS - HOUR_MS + n) for n in range(MANY)
    ]
    filled = [entry for entry in exchange.snapshot().entries if isinstance(entry, OrderFilled)]
    assert len(filled) == MANY


def test_every_piece_of_the_funding_history_is_read() -> None:
    exchange = Exchange()
    exchange.funding = [
        changed(FUNDING, id=1_000 - n, symbol="XBTUSDTM", timePoint=NOW_MS - n)
        for n in range(2 * ROWS + 1)
    ]
    paid = [entry for entry in exchange.snapshot().entries if isinstance(entry, FundingSettled)]
    assert len(paid) == 2 * ROWS + 1


@pytest.mark.parametrize("name", ["Orders", "Fills"])
def test_a_list_without_end_is_a_read_that_failed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of it is not everything, so it is not told as if it was."""
    monkeypatch.setattr(kucoin_account, "MOST_PAGES", 2)
    exchange = Exchange()
    exchange.rows[name] = orders("o") if name == "Orders" else [FILL] * MANY
    with pytest.raises(UnreachableError, match="expected at most 2 pages"):
        exchange.snapshot()


def test_what_is_kept_to_save_questions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kucoin_account, "REMEMBERED", 10)
    exchange = Exchange()
    exchange.rows["Orders"] = orders("o")
    exchange.funding = [
        changed(FUNDING, id=1_000 - n, symbol="XBTUSDTM", timePoint=NOW_MS - n) for n in range(50)
    ]
    exchange.snapshot()
    reader = exchange.reader
    assert [len(kept) for kept in (reader.order_ids, reader.client_ids, reader.entries)] == [10] * 3
