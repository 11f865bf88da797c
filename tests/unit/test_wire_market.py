"""Public market data of the wire simulator, where ccxt does not look."""

from typing import Any

from ops.exchange.contracts import book_levels
from ops.exchange.market_news import LEVEL2, MarketNews
from ops.exchange.names import wire_symbol
from tests.support.wire_desk import COIN, MINUTE, PAST, START, SYMBOL, Desk


def test_a_contract_says_what_it_is_and_what_it_did_today() -> None:
    desk = Desk((100.0, 110.0), (110.0, 95.0))
    desk.bars(2)
    seen = desk.call("GET", "/api/v1/contracts/{symbol}", symbol=SYMBOL)
    assert (seen["symbol"], seen["baseCurrency"], seen["status"]) == (SYMBOL, "XBT", "Open")
    assert (seen["multiplier"], seen["tickSize"], seen["lotSize"]) == (1.0, 0.1, 1)
    assert (seen["maxLeverage"], seen["maintainMargin"]) == (COIN.max_leverage, 0.01)
    assert (seen["highPrice"], seen["lowPrice"], seen["lastTradePrice"]) == (110.0, 95.0, 95.0)
    assert (seen["priceChg"], seen["priceChgPct"]) == (-5.0, -0.05)
    assert seen["volumeOf24h"] == 26.0 * (PAST + 2)
    eight_hours = 8 * 60 * MINUTE
    assert seen["nextFundingRateTime"] == eight_hours - (PAST + 2) * MINUTE
    assert seen["nextFundingRateDateTime"] == START + eight_hours
    assert [c["symbol"] for c in desk.call("GET", "/api/v1/contracts/active")] == [SYMBOL]


def test_the_book_is_what_an_order_meets() -> None:
    desk = Desk(100.0, depth=4)
    bids, asks = book_levels(desk.wire.market, 0, 3)
    assert bids == [[99.9, 4], [99.8, 4], [99.7, 4]]
    assert asks == [[100.1, 4], [100.2, 4], [100.3, 4]]
    desk.trade(size=6)
    fills = desk.call("GET", "/api/v1/recentFills")
    assert [(f["price"], f["size"]) for f in reversed(fills)] == [("100.1", 4), ("100.2", 2)]
    _, asks = book_levels(desk.wire.market, 0, 2)
    assert asks == [[100.2, 2], [100.3, 4]]


def test_a_paused_market_has_no_book() -> None:
    desk = Desk(100.0)
    desk.wire.market.pause(0)
    seen = desk.call("GET", "/api/v1/ticker", symbol=SYMBOL)
    assert (seen["price"], seen["bestBidPrice"], seen["bestAskSize"]) == ("100", None, None)


def test_public_trades_are_the_newest_and_have_a_side() -> None:
    desk = Desk((100.0, 101.2), (101.2, 100.0))
    desk.bars()
    rows = desk.call("GET", "/api/v1/trade/history", symbol=SYMBOL)
    assert {row["side"] for row in rows} == {"buy"}
    desk.bars(20)
    rows = desk.call("GET", "/api/v1/trade/history", symbol=SYMBOL)
    assert [row["sequence"] for row in rows] == list(range(26, 0, -1))
    assert {row["side"] for row in rows[:12]} == {"sell", "buy"}
    assert rows[0]["ts"] == (START + (PAST + 2) * MINUTE) * 1_000_000
    assert all(row["size"] == 2 for row in rows)  # 26 contracts in 13 prices


def test_sequences_grow_with_what_changes_the_book() -> None:
    desk = Desk((100.0, 101.0))
    path = "/api/v1/level2/snapshot"
    first = desk.call("GET", path, symbol=SYMBOL)["sequence"]
    assert desk.call("GET", path, symbol=SYMBOL)["sequence"] == first
    desk.trade()
    second = desk.call("GET", path, symbol=SYMBOL)["sequence"]
    assert second > first
    desk.step(MINUTE // 2)
    assert desk.call("GET", path, symbol=SYMBOL)["sequence"] > second


class Reader(MarketNews):
    """Listens to the changes of a book and keeps the book."""

    def __init__(self, desk: Desk) -> None:
        snapshot = desk.call("GET", "/api/v1/level2/snapshot", symbol=SYMBOL)
        self.sequence = snapshot["sequence"]
        self.bids, self.asks = dict(snapshot["bids"]), dict(snapshot["asks"])
        super().__init__(desk.wire.market, desk.wire.hub)
        desk.wire.news, desk.wire.market.on_quote = self, self.quoted

    def wanted(self) -> set[str]:
        return {f"{LEVEL2}:{SYMBOL}"}

    def tell(self, topic: str, subject: str, data: dict[str, Any]) -> int:
        price, side, size = data["change"].split(",")
        book = self.bids if side == "buy" else self.asks
        if data["sequence"] > self.sequence:
            book[float(price)] = int(size)
            if size == "0":
                del book[float(price)]
        return 0

    def knows(self, desk: Desk) -> bool:
        """Return whether the book that was kept is the exchange's."""
        fresh = desk.call("GET", "/api/v1/level2/snapshot", symbol=SYMBOL)
        return (self.bids, self.asks) == (dict(fresh["bids"]), dict(fresh["asks"]))


def test_the_changes_of_a_book_lead_to_the_book() -> None:
    desk = Desk((100.0, 101.0), 101.0, 103.0, 104.0, depth=30)
    reader = Reader(desk)
    desk.trade(size=50)
    assert reader.knows(desk)
    desk.wire.market.set_tick(0, 0.25)
    assert reader.knows(desk)
    desk.bars(1)
    assert reader.knows(desk)
    desk.wire.market.pause(0)
    assert reader.knows(desk)
    assert reader.bids == reader.asks == {}
    desk.bars(1)
    desk.wire.market.resume(0)
    desk.bars(1)
    assert reader.knows(desk)
    assert reader.bids
    desk.wire.market.delist(0)
    assert reader.knows(desk)
    assert reader.asks == {}


def test_every_symbol_has_a_name_of_its_own() -> None:
    assert [wire_symbol(f"{coin}-USDT-PERP") for coin in ("BTC", "ETH", "1INCH")] == [
        "XBTUSDTM",
        "ETHUSDTM",
        "1INCHUSDTM",
    ]
