"""Real ccxt on a real simulator over real sockets; its clock is the market's, and stands still."""

import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import ccxt.async_support
import ccxt.pro

from ops.exchange.server import WireExchange
from ops.exchange.sockets import UNIFIED_PATH, UNIFIED_PRIVATE_PATH
from ops.exchange.wire import Options
from tests.support.wire_desk import KEY

SYMBOL = "BTC/USDT:USDT"
NOWHERE = "ws://127.0.0.1:9"  # the sockets of the spot market are not simulated


class Control:
    """The control endpoint of a simulator."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, method: str, path: str, **body: Any) -> Any:
        """Ask; return the answer, or the status and the error."""
        data = None if method == "GET" else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["error"]

    def truth(self) -> Any:
        return self("GET", "/control/truth")

    def advance(self, ms: int) -> int:
        """Let market time pass; return what it is now."""
        now: int = self("POST", "/control/advance", by_ms=ms)["now_ms"]
        return now


class Client:
    """One ccxt object, and the control endpoint of what it talks to."""

    def __init__(self, kind: type, addresses: dict[str, Any], **credentials: str) -> None:
        self.control = Control(addresses["control"])
        self.now_ms: int = addresses["now_ms"]
        keys = {"apiKey": KEY.key, "secret": KEY.secret, "password": KEY.passphrase} | credentials
        options = {"uta": False, "hf": False}
        self.ccxt: Any = kind({**keys, "enableRateLimit": False, "options": options})
        self.ccxt.milliseconds = lambda: self.now_ms
        for name, value in self.ccxt.urls["api"].items():
            if isinstance(value, str):
                where = "futures" if name.startswith("futures") else "spot"
                self.ccxt.urls["api"][name] = addresses[where]
            else:
                sockets = f"ws{addresses['futures'][4:]}"
                self.ccxt.urls["api"][name] = {
                    **dict.fromkeys(value, NOWHERE),
                    "futures": sockets + UNIFIED_PATH,
                    "private": sockets + UNIFIED_PRIVATE_PATH,
                }

    def advance(self, ms: int) -> None:
        """Let market time pass, for the client too."""
        self.now_ms = self.control.advance(ms)

    async def code_of(self, call: Awaitable[Any]) -> str:
        """Return the exchange's code with which a call is refused, and ccxt's exception."""
        try:
            await call
        except ccxt.BaseError as error:
            body = json.loads(str(error).partition(" ")[2])
            return f"{body['code']} {type(error).__name__}"
        return ""


@asynccontextmanager
async def connected(
    options: Options, kind: type = ccxt.async_support.kucoinfutures, **credentials: str
) -> AsyncIterator[Client]:
    """Yield a client of a new simulator; both are gone afterwards."""
    exchange = WireExchange(options)
    addresses = exchange.start()
    client = Client(kind, addresses, **credentials)
    try:
        await client.ccxt.load_markets(params={"marginables": False})
        yield client
    finally:
        await client.ccxt.close()
        exchange.stop()


async def until(wanted: Callable[[], Any], turn: Callable[[], Awaitable[Any]]) -> Any:
    """Take turns until something is so; return it."""
    for _ in range(1_000):
        if found := wanted():
            return found
        await turn()
    raise AssertionError("not in time")
