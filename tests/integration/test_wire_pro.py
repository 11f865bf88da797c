"""The wire simulator's sockets under unmodified ccxt.pro, fed by orders that are sent over REST."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import ccxt.pro

from ops.exchange.server import WireExchange
from tests.support.wire_client import SYMBOL, Client, until
from tests.support.wire_desk import MINUTE, PAST, START, options, source

PRICES = [100.0] * PAST
TRADE = {"leverage": 5, "marginMode": "isolated"}
QUOTE_MS = MINUTE // 12


class Listener:
    """A ccxt.pro client, and the sockets of the simulator it listens to."""

    def __init__(self, exchange: WireExchange) -> None:
        self.client = Client(ccxt.pro.kucoinfutures, exchange.start())
        self.exchange = exchange

    async def subscribed(self, call: Coroutine[Any, Any, Any], topic: str) -> asyncio.Task[Any]:
        """Start to watch; return when the simulator knows of it."""
        task = asyncio.create_task(call)
        control = self.client.control

        def known() -> bool:
            return task.done() or any(topic in topics for topics in control.truth()["sockets"])

        await until(known, lambda: asyncio.sleep(0))
        return task

    async def heard(self, task: asyncio.Task[Any]) -> Any:
        """Return what a watch brings that has been started."""
        return await asyncio.wait_for(task, 20)

    async def next_of(self, task: asyncio.Task[Any], ms: int) -> Any:
        """Let market time pass in steps until a watch brings something."""

        async def turn() -> None:
            self.client.advance(ms)
            await asyncio.wait({task}, timeout=0.02)

        await until(task.done, turn)
        return task.result()


class Plain:
    """A subscription to a topic that ccxt has no call for, on a plain WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hear(self) -> Any:
        """Return the next frame."""
        return await self.socket.receive_json(timeout=20)

    async def told(self) -> list[tuple[str, Any]]:
        """Return subject and data of what has come until now."""
        await self.socket.send_json({"id": "p", "type": "ping"})
        frames = []
        while (frame := await self.hear())["type"] != "pong":
            frames.append((frame["subject"], frame["data"]))
        return frames


@asynccontextmanager
async def plainly(listener: Listener, topic: str) -> AsyncIterator[Plain]:
    """Listen to a topic with a public token."""
    bullet = await listener.client.ccxt.futuresPublicPostBulletPublic()
    data = bullet["data"]
    url = f"{data['instanceServers'][0]['endpoint']}?token={quote(data['token'])}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        plain = Plain(socket)
        assert (await plain.hear())["type"] == "welcome"
        await socket.send_json({"id": "1", "type": "subscribe", "topic": topic, "response": True})
        assert await plain.hear() == {"id": "1", "type": "ack"}
        yield plain


def on(
    *prices: Any,
    story: Callable[[Listener], Awaitable[None]],
    funding: Sequence[tuple[int, int, float]] = (),
) -> None:
    """Play a story on a market of these prices."""

    async def play() -> None:
        exchange = WireExchange(options(source([*PRICES, *prices], None, funding)))
        listener = Listener(exchange)
        try:
            await listener.client.ccxt.load_markets(params={"marginables": False})
            await story(listener)
        finally:
            await listener.client.ccxt.close()
            exchange.stop()

    asyncio.run(play())


def test_orders_and_trades_of_the_account() -> None:
    async def story(listener: Listener) -> None:
        client = listener.client
        watching = await listener.subscribed(
            client.ccxt.watch_my_trades(SYMBOL), "/contractMarket/tradeOrders"
        )
        order = await client.ccxt.create_order(SYMBOL, "market", "buy", 3, None, TRADE)
        client.advance(1)
        [trade] = await listener.heard(watching)
        shown = {key: trade[key] for key in ("order", "side", "amount", "price", "takerOrMaker")}
        assert shown == {
            "order": order["id"],
            "side": "buy",
            "amount": 3.0,
            "price": 100.1,
            "takerOrMaker": "taker",
        }
        [known] = [t["id"] for t in await client.ccxt.fetch_my_trades(SYMBOL)]
        assert trade["id"] == known
        orders = await listener.subscribed(
            client.ccxt.watch_orders(SYMBOL), "/contractMarket/tradeOrders"
        )
        second = await client.ccxt.create_order(
            SYMBOL, "limit", "buy", 2, 99.0, {**TRADE, "clientOrderId": "rest-1"}
        )
        client.advance(1)
        seen = (await listener.heard(orders))[-1]
        assert (seen["id"], seen["clientOrderId"], seen["status"]) == (
            second["id"],
            "rest-1",
            "open",
        )

    on(100.0, story=story)


def test_stops_and_balance() -> None:
    async def story(listener: Listener) -> None:
        client = listener.client
        balance = await listener.subscribed(client.ccxt.watch_balance(), "/contractAccount/wallet")
        await client.ccxt.create_order(SYMBOL, "market", "buy", 10, None, TRADE)
        client.advance(1)
        heard = (await listener.heard(balance))["USDT"]
        assert heard["free"] < 10_000.0 - 200.0
        stops = await listener.subscribed(
            client.ccxt.watch_orders(SYMBOL, params={"trigger": True}),
            "/contractMarket/advancedOrders",
        )
        made = await client.ccxt.create_order(
            SYMBOL, "market", "sell", 10, None, {**TRADE, "stopLossPrice": 98.0}
        )
        client.advance(1)
        [stop] = await listener.heard(stops)
        assert (stop["id"], stop["status"], stop["triggerPrice"]) == (made["id"], "open", 98.0)

    on(100.0, story=story)


def test_ticker_candles_and_book() -> None:
    async def story(listener: Listener) -> None:
        client, topic = listener.client, "/contractMarket/{}:XBTUSDTM{}"
        ticker = await listener.subscribed(
            client.ccxt.watch_ticker(SYMBOL), topic.format("ticker", "")
        )
        assert (await listener.next_of(ticker, QUOTE_MS))["last"] == 101.0
        candles = await listener.subscribed(
            client.ccxt.watch_ohlcv(SYMBOL, "1m"), topic.format("limitCandle", "_1min")
        )
        [row] = await listener.next_of(candles, QUOTE_MS)
        number, rest = divmod(row[0] - START, MINUTE)
        assert (rest, row[1]) == (0, 101.0 + number - PAST)
        trades = await listener.subscribed(
            client.ccxt.watch_trades(SYMBOL), topic.format("execution", "")
        )
        assert (await listener.next_of(trades, QUOTE_MS))[0]["symbol"] == SYMBOL
        book = await listener.subscribed(
            client.ccxt.watch_order_book(SYMBOL), topic.format("level2", "")
        )
        await listener.next_of(book, QUOTE_MS)
        for _ in range(3):  # what the stream has made of the book is what a snapshot says
            watching = asyncio.create_task(client.ccxt.watch_order_book(SYMBOL))
            await listener.next_of(watching, QUOTE_MS)
        fresh = await client.ccxt.fetch_order_book(SYMBOL)

        async def turn() -> None:
            await asyncio.wait_for(client.ccxt.watch_order_book(SYMBOL), 5)

        kept = client.ccxt.orderbooks[SYMBOL]
        await until(lambda: kept["nonce"] == fresh["nonce"], turn)
        assert kept["bids"][:20] == fresh["bids"][:20]
        assert kept["asks"][:20] == fresh["asks"][:20]

    on(*[(101.0 + i, 103.0 + i) for i in range(300)], story=story)


def test_marks_every_second_and_the_funding_rate_every_minute() -> None:
    async def story(listener: Listener) -> None:
        client = listener.client
        async with plainly(listener, "/contract/instrument:XBTUSDTM") as plain:
            for ms in (1, 999, 1):
                client.advance(ms)
            start = START + PAST * MINUTE
            heard = await plain.told()
            assert [(subject, data["timestamp"] - start) for subject, data in heard] == [
                ("mark.index.price", 1),
                ("funding.rate", 1),
                ("mark.index.price", 1_001),
            ]
            contract = await client.ccxt.futuresPublicGetContractsSymbol({"symbol": "XBTUSDTM"})
            mark = float(contract["data"]["markPrice"])
            assert heard[-1][1] == {
                "granularity": 1_000,
                "markPrice": mark,
                "indexPrice": mark,
                "timestamp": start + 1_001,
            }
            client.advance(MINUTE)
            rates = [data for subject, data in await plain.told() if subject == "funding.rate"]
            rate = float(contract["data"]["fundingFeeRate"])
            told = [(data["granularity"], data["fundingRate"]) for data in rates]
            assert told == [(60_000, rate)]

    on(100.0, 101.0, 102.0, story=story)


def test_the_settlement_of_funding_is_announced() -> None:
    settlement = START + 8 * 60 * MINUTE

    async def story(listener: Listener) -> None:
        client = listener.client
        client.advance(settlement - client.now_ms - 1)
        async with plainly(listener, "/contract/announcement") as plain:
            heard = []
            for ms in (1, 9_999, 1, MINUTE):
                client.advance(ms)
                heard.append(await plain.told())
            data = {"symbol": "XBTUSDTM", "fundingTime": settlement, "fundingRate": 0.0002}
            assert heard == [
                [("funding.begin", {**data, "timestamp": settlement})],
                [],
                [("funding.end", {**data, "timestamp": settlement + 10_000})],
                [],
            ]

    on(*[100.0] * (8 * 60), story=story, funding=[(0, settlement, 0.0002)])


def test_the_last_24_hours_every_five_seconds() -> None:
    async def story(listener: Listener) -> None:
        client = listener.client
        client.advance(2 * MINUTE)
        async with plainly(listener, "/contractMarket/snapshot:XBTUSDTM") as plain:
            for ms in (1, 4_999, 1):
                client.advance(ms)
            heard = await plain.told()
            start = START + (PAST + 2) * MINUTE
            assert [(subject, data["ts"] - start * 1_000_000) for subject, data in heard] == [
                ("snapshot.24h", 1_000_000),
                ("snapshot.24h", 5_001_000_000),
            ]
            told = await client.ccxt.futuresPublicGetContractsSymbol({"symbol": "XBTUSDTM"})
            contract = told["data"]
            last = float(contract["lastTradePrice"])
            assert heard[-1][1] == {
                "highPrice": 104.0,
                "lastPrice": last,
                "lowPrice": 98.0,
                "price24HoursBefore": 100.0,
                "priceChg": last - 100.0,
                "priceChgPct": 0.03,
                "symbol": "XBTUSDTM",
                "ts": (start + 5_001) * 1_000_000,
                "turnover": float(contract["turnoverOf24h"]),
                "volume": float(contract["volumeOf24h"]),
            }

    on((100.0, 104.0), (104.0, 98.0), 103.0, story=story)
