"""A hub of sockets behind a real server on the loopback, clients of it, and ccxt pointed at it."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import ccxt.pro
from aiohttp import WSMsgType, web
from yarl import URL

from ops.exchange.faults import Faults
from ops.exchange.sockets import Hub
from tests.support.kucoin_samples import CONTRACT

LONG_S = 10.0  # no wait takes that long unless something is broken
NOW_MS = 1_717_200_000_000
LISTED = CONTRACT | {"firstOpenDate": 1_585_555_200_000}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario; one that hangs fails."""

    async def limited() -> None:
        async with asyncio.timeout(3 * LONG_S):
            await scenario

    asyncio.run(limited())


class Client:
    """A plain WebSocket client that speaks in JSON objects."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.asked = 0

    async def say(self, **frame: Any) -> None:
        await self.socket.send_json(frame)

    async def hear(self) -> Any:
        """Return the next frame, None when the connection is closed."""
        heard = await self.socket.receive(LONG_S)
        return json.loads(heard.data) if heard.type is WSMsgType.TEXT else None

    async def ask(self, **frame: Any) -> Any:
        """Say something with a new id; return the next frame."""
        self.asked += 1
        await self.say(id=str(self.asked), **frame)
        return await self.hear()

    async def subscribe(self, topic: str) -> None:
        told = await self.ask(type="subscribe", topic=topic, response=True)
        assert told == {"id": str(self.asked), "type": "ack"}

    async def nothing_came(self) -> None:
        """Check that the next frame is the answer to a ping, so that none is before it."""
        assert (await self.ask(type="ping"))["type"] == "pong"


class Wire:
    """A hub that is served, and its market time."""

    def __init__(self, **options: Any) -> None:
        self.now_ms = NOW_MS
        self.faults = Faults()
        self.hub = Hub(self.faults, lambda: self.now_ms, **options)
        self.clients: list[Client] = []
        self.session: aiohttp.ClientSession
        self.url = ""

    def bullet(self, private: bool) -> dict[str, Any]:
        return self.hub.issue(private=private, base_url=f"ws{self.url[4:]}/endpoint")

    async def post_bullet(self, request: web.Request) -> web.Response:
        data = self.bullet(request.path.endswith("private"))
        return web.json_response({"code": "200000", "data": data})

    async def contracts(self, request: web.Request) -> web.Response:
        return web.json_response({"code": "200000", "data": [LISTED]})

    async def connect(self, token: str, name: str = "me") -> Client:
        """Connect without waiting for the welcome."""
        url = URL(f"{self.url}/endpoint").with_query(token=token, connectId=name)
        client = Client(await self.session.ws_connect(url, compress=15, autoping=False))
        self.clients.append(client)
        return client

    async def client(self, *topics: str, private: bool = True) -> Client:
        """Return a client that was welcomed and listens to topics."""
        client = await self.connect(self.bullet(private)["token"])
        assert await client.hear() == {"id": "me", "type": "welcome"}
        for topic in topics:
            await client.subscribe(topic)
        return client

    def order(self, **changes: Any) -> dict[str, Any]:
        """Publish an event of an order; return its data."""
        data = {
            "symbol": "XBTUSDTM",
            "orderType": "limit",
            "side": "buy",
            "canceledSize": "0",
            "orderId": "1",
            "clientOid": "c-1",
            "type": "open",
            "status": "open",
            "orderTime": self.now_ms * 1_000_000,
            "size": "2",
            "filledSize": "0",
            "price": "60000.0",
            "remainSize": "2",
            "ts": self.now_ms * 1_000_000,
            **changes,
        }
        self.hub.publish("/contractMarket/tradeOrders", "orderChange", data, private=True)
        return data

    def ticker(self, price: str = "60000.0") -> None:
        """Publish a price."""
        data = {"symbol": "XBTUSDTM", "price": price, "ts": self.now_ms * 1_000_000}
        self.hub.publish("/contractMarket/ticker:XBTUSDTM", "ticker", data, private=False)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of the loopback; give its address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def wire(**options: Any) -> AsyncIterator[Wire]:
    """Serve a hub with the REST calls that ccxt needs to find it."""
    made = Wire(**options)
    app = web.Application()
    app.router.add_get("/endpoint", made.hub.handle)
    app.router.add_get("/api/v1/contracts/active", made.contracts)
    app.router.add_post("/api/v1/bullet-public", made.post_bullet)
    app.router.add_post("/api/v1/bullet-private", made.post_bullet)
    async with serving(app) as made.url, aiohttp.ClientSession() as made.session:
        try:
            yield made
        finally:
            await made.hub.close()
            for client in made.clients:
                await client.socket.close()


async def refused(made: Wire, token: str, code: int, text: str) -> None:
    """Check that a token does not admit."""
    client = await made.connect(token, "privateFutures")
    told = {"id": "privateFutures", "type": "error", "code": code, "data": text}
    assert await client.hear() == told
    assert await client.hear() is None


@asynccontextmanager
async def trader(url: str) -> AsyncIterator[Any]:
    """Give ccxt's exchange object with all its addresses on the loopback."""
    credentials = {"apiKey": "k", "secret": "s", "password": "p"}
    options = {"uta": False, "hf": False}
    exchange = ccxt.pro.kucoinfutures({**credentials, "options": options})
    exchange.has["fetchCurrencies"] = False
    urls = exchange.urls["api"]
    for name in urls:
        urls[name] = dict.fromkeys(urls[name], "ws://127.0.0.1:1") if name == "ws" else url
    try:
        await exchange.load_markets(params={"marginables": False})
        yield exchange
    finally:
        await exchange.close()
