"""What the sockets are told about the market; nothing is put together that nobody listens to."""

from collections.abc import Callable
from typing import Any

from bot.sim.ticks import Quote
from ops.exchange import news
from ops.exchange.candles import served
from ops.exchange.contracts import (
    BOOK_LEVELS,
    Standing,
    book_view,
    day_view,
    levels_at,
    open_interest,
    standing,
    ticker_view,
)
from ops.exchange.market import Market, next_settlement
from ops.exchange.names import decimal_text, nanoseconds, side_word, trade_id, wire_symbol
from ops.exchange.sockets import Hub
from ops.exchange.unified_topics import (
    FUNDING_FEE,
    MARK_PRICE,
    POSITIONS,
    funding_view,
    mark_view,
)

CANDLE_WORDS = {
    1: "1min",
    5: "5min",
    15: "15min",
    30: "30min",
    60: "1hour",
    120: "2hour",
    240: "4hour",
    480: "8hour",
    720: "12hour",
    1440: "1day",
    10_080: "1week",
}
LEVEL2 = "/contractMarket/level2"
DEPTHS = (5, 50)
INSTRUMENT = "/contract/instrument"
SNAPSHOT = "/contractMarket/snapshot"
ANNOUNCEMENT = "/contract/announcement"
ACCOUNT = (news.ORDERS, news.STOPS, news.WALLET, news.POSITION, POSITIONS)
"""what the topics of an account begin with"""
MARK_MS = 1_000  # between two marks of a symbol
RATE_MS = 60_000  # between two funding rates of a symbol
DAY_VIEW_MS = 5_000  # between two views of a symbol's last 24 hours
SETTLING_MS = {"funding.begin": 0, "funding.end": 10_000}
"""how long after the funding time it is announced"""

type Levels = dict[float, int]


class MarketNews:
    """Watches one market and publishes to whoever has subscribed."""

    def __init__(self, market: Market, hub: Hub) -> None:
        self.market = market
        self.hub = hub
        self.shown = [Standing() for _ in market.symbols]
        """of the book that readers know, by symbol"""
        self.told: dict[tuple[str, str], int] = {}
        """when what is told at intervals was told last, by topic and subject"""
        self.on_mark: Callable[[int, int], None] = lambda k, now: None
        """called when the owner of a position on a symbol is to hear of its mark"""
        coming = next_settlement(market.start_ms)
        self.coming = dict.fromkeys(SETTLING_MS, coming)
        """the next funding time to be announced, by subject"""

    def wanted(self) -> set[str]:
        """Return the topics that somebody listens to."""
        return {topic for link in self.hub.connections for topic in link.topics}

    def listened(self) -> bool:
        """Return whether somebody listens to more than an account."""
        return not all(topic.startswith(ACCOUNT) for topic in self.wanted())

    def tell(self, topic: str, subject: str, data: dict[str, Any]) -> int:
        """Publish to all; return how many numbers a fault has left out."""
        return self.hub.publish(topic, subject, data, private=False)

    def quoted(self, quote: Quote) -> None:
        """Tell of a new price."""
        wanted = self.wanted()
        self.tell_funding(quote.ms, wanted)
        self.tell_book(quote.symbol, quote.ms, wanted)
        if not wanted:
            return
        market, k = self.market, quote.symbol
        name = wire_symbol(market.symbols[k])
        self.tell_state(k, quote.ms, wanted)
        if f"/contractMarket/ticker:{name}" in wanted:
            self.tell(f"/contractMarket/ticker:{name}", "ticker", ticker_view(market, k, quote.ms))
        if f"/contractMarket/tickerV2:{name}" in wanted:
            self._tell_best(name, k, quote.ms)
        if f"/contractMarket/execution:{name}" in wanted:
            self._tell_trade(name, k)
        for minutes, word in CANDLE_WORDS.items():
            topic = f"/contractMarket/limitCandle:{name}_{word}"
            if topic in wanted and served(minutes, market.timeframe_ms):
                self._tell_candle(topic, name, k, minutes, quote.ms)

    def caught_up(self, now: int) -> None:
        """Tell what orders have taken from the books since the last price, and what is due."""
        wanted = self.wanted()
        self.tell_funding(now, wanted)
        for k in range(len(self.market.symbols)):
            self.tell_book(k, now, wanted)
            self.tell_state(k, now, wanted)

    def tell_state(self, k: int, now: int, wanted: set[str]) -> None:
        """Tell what is told at intervals; what was played at once is told as often as it moved."""
        if not self.market.is_listed(k):
            return
        name = wire_symbol(self.market.symbols[k])
        topic = f"{SNAPSHOT}:{name}"
        if topic in wanted and self._is_due(topic, "snapshot.24h", DAY_VIEW_MS, now):
            self.tell(topic, "snapshot.24h", day_view(self.market, k, now))
        if f"{INSTRUMENT}:{name}" in wanted:
            self._tell_instrument(f"{INSTRUMENT}:{name}", k, now)
        self._tell_unified(name, k, now, wanted)
        topic = f"{news.POSITION}:{name}"
        if topic in wanted and self._is_due(topic, "position.change", MARK_MS, now):
            self.on_mark(k, now)

    def _tell_instrument(self, topic: str, k: int, now: int) -> None:
        market = self.market
        if self._is_due(topic, "mark.index.price", MARK_MS, now):
            mark = market.mark(k)
            prices = {"markPrice": mark, "indexPrice": mark}
            data = {"granularity": MARK_MS, **prices, "timestamp": now}
            self.tell(topic, "mark.index.price", data)
        if self._is_due(topic, "funding.rate", RATE_MS, now):
            _, rate = market.settled(k, now)
            data = {"granularity": RATE_MS, "fundingRate": rate, "timestamp": now}
            self.tell(topic, "funding.rate", data)

    def _tell_unified(self, name: str, k: int, now: int, wanted: set[str]) -> None:
        market, topic = self.market, f"{MARK_PRICE}:{name}"
        if topic in wanted and self._is_due(topic, MARK_PRICE, MARK_MS, now):
            interest = open_interest(market, k, now)
            self.tell(topic, MARK_PRICE, mark_view(name, market.mark(k), interest, now))
        topic = f"{FUNDING_FEE}:{name}"
        if topic in wanted and self._is_due(topic, FUNDING_FEE, RATE_MS, now):
            settled_ms, rate = market.settled(k, now)
            view = funding_view(name, rate, settled_ms, next_settlement(now))
            self.tell(topic, FUNDING_FEE, view)

    def tell_funding(self, now: int, wanted: set[str]) -> None:
        """Announce that funding is being settled, and that it has been."""
        for subject, after_ms in SETTLING_MS.items():
            while self.coming[subject] + after_ms <= now:
                at = self.coming[subject]
                self.coming[subject] = next_settlement(at)
                if ANNOUNCEMENT in wanted:
                    self._announce(subject, at, at + after_ms)

    def _announce(self, subject: str, at: int, now: int) -> None:
        market = self.market
        for k, symbol in enumerate(market.symbols):
            if market.is_listed(k):
                rate = market.rate_at(k, at)
                data = {"symbol": wire_symbol(symbol), "fundingTime": at, "fundingRate": rate}
                self.tell(ANNOUNCEMENT, subject, {**data, "timestamp": now})

    def _is_due(self, topic: str, subject: str, every_ms: int, now: int) -> bool:
        """Return whether an interval has passed; if so, the next one begins."""
        before = self.told.get((topic, subject))
        if before is not None and now - before < every_ms:
            return False
        self.told[topic, subject] = now
        return True

    def tell_book(self, k: int, now: int, wanted: set[str]) -> None:
        """Tell what has changed in a book; each change has the next number of the book."""
        market = self.market
        before, state = self.shown[k], standing(market, k)
        if state == before:
            return
        self.shown[k] = state
        name = wire_symbol(market.symbols[k])
        if f"{LEVEL2}:{name}" not in wanted:
            market.sequences[k] += 1
        else:
            self._tell_changes(name, k, before, now)
        for depth in DEPTHS:
            topic = f"{LEVEL2}Depth{depth}:{name}"
            if topic in wanted:
                view = book_view(market, k, depth, now)
                self.tell(topic, "level2", {**view, "ts": now, "timestamp": now})

    def _tell_changes(self, name: str, k: int, before: Standing, now: int) -> None:
        market = self.market
        old = levels_at(market, k, BOOK_LEVELS, before)
        new = levels_at(market, k, BOOK_LEVELS, self.shown[k])
        for word, gone, come in zip(("buy", "sell"), old, new, strict=True):
            was, now_there = _sizes(gone), _sizes(come)
            for price in sorted(was.keys() | now_there.keys()):
                size = now_there.get(price, 0)
                if was.get(price) != size:
                    market.sequences[k] += 1
                    change = f"{decimal_text(price)},{word},{size}"
                    data = {"sequence": market.sequences[k], "change": change, "timestamp": now}
                    # What a fault leaves out is missing in the book's own numbers, too.
                    market.sequences[k] += self.tell(f"{LEVEL2}:{name}", "level2", data)

    def _tell_best(self, name: str, k: int, now: int) -> None:
        view = ticker_view(self.market, k, now)
        keys = ("symbol", "sequence", "bestBidSize", "bestBidPrice", "bestAskPrice", "bestAskSize")
        data = {key: view[key] for key in (*keys, "ts")}
        self.tell(f"/contractMarket/tickerV2:{name}", "tickerV2", data)

    def _tell_trade(self, name: str, k: int) -> None:
        trade = self.market.trades[k][-1]
        data = {
            "symbol": name,
            "sequence": trade.number,
            "side": side_word(trade.side),
            "size": trade.contracts,
            "price": decimal_text(trade.price),
            "takerOrderId": "0",
            "makerOrderId": "0",
            "tradeId": trade_id(f"t{trade.number}"),
            "ts": nanoseconds(trade.ms),
        }
        self.tell(f"/contractMarket/execution:{name}", "match", data)

    def _tell_candle(self, topic: str, name: str, k: int, minutes: int, now: int) -> None:
        row = self.market.candles.newest(k, minutes)
        if row is None:
            return
        open_ms, open_, high, low, close, volume = row
        texts = [decimal_text(value) for value in (open_, close, high, low)]
        seconds, size = str(int(open_ms) // 1000), str(int(volume))
        spec = self.market.exchange.specs[k]
        turnover = decimal_text(round(volume * spec.multiplier * close, 8))
        data = {"symbol": name, "candles": [seconds, *texts, turnover, size], "time": now}
        self.tell(topic, "candle.stick", data)


def _sizes(levels: list[list[float]]) -> Levels:
    return {price: int(size) for price, size in levels}
