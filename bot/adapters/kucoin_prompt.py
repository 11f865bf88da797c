"""The private WebSocket as a prompt: whatever it says, the account is read; silence harms nothing.

Rules of this file: nothing is believed that comes over the socket, because it may be late, doubled,
out of order or missing. A socket that fails, or over which nothing comes, not even a pong, is built
anew with a new token, less and less often; and once a day, before its token ends. What was pushed
while there was none is not told again, so each new subscription prompts a read as well.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from bot.adapters.kucoin_client import KucoinClient
from bot.core.errors import UnreachableError

log = logging.getLogger("radbot.exchange")
TOPIC = "/contractMarket/tradeOrders"
LIFE_S = 20.0 * 3600.0  # a token lives for 24 h
PING_MS = 18_000  # as KuCoin wants it (API reference, section 8.1); asked for more often, we obey
IDLE_S = 30.0  # a pong comes for each ping, at most 10 s late (`pingTimeout`): every 28 s
LOOK_S = 1.0  # how often a socket's age and silence are looked at
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0


def ping_ms(wanted: int | None) -> int:
    """Return how often a socket is pinged, ms: at least as often as makes its silence tell."""
    return wanted if wanted is not None and 0 < wanted < PING_MS else PING_MS


class Prompter:
    """Keeps one private socket. `heard` is called in the wire thread for every push."""

    def __init__(
        self,
        client: KucoinClient,
        heard: Callable[[], None],
        rng: Random | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.heard = heard
        self.rng = rng if rng is not None else Random()
        self.monotonic = monotonic
        self.connects = 0
        self.connected = False
        """the exchange has greeted, and nothing has gone wrong since"""
        self.pushed_s = 0.0
        """monotonic time of the newest push, 0 before the first"""
        self.heard_s = 0.0
        """monotonic time of the newest frame of any kind, or of the try to connect"""

    async def run(self) -> None:
        """Hold a socket until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = self.monotonic()
            try:
                await self._hold()
                pause_s = FIRST_PAUSE_S
            except Exception as error:  # of ccxt, of the network, of its parsing: all the same
                log.info("socket: %s: %s", type(error).__name__, str(error)[:200])
            self.connected = False
            await self._forget()
            if self.monotonic() - began > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S  # it had worked for a while
            await asyncio.sleep(pause_s * (0.5 + self.rng.random()))
            pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)

    async def _hold(self) -> None:
        """Subscribe and stay until the socket ends, is silent, or is old."""
        ccxt = self.client.ccxt
        ccxt.handle_message = self._message
        url = await self.client.socket_url()
        self.connects += 1
        self.heard_s = self.monotonic()
        socket = ccxt.client(url)
        socket.keepAlive = ping_ms(socket.keepAlive)
        waiting = asyncio.ensure_future(
            ccxt.subscribe(url, "never", TOPIC, {"privateChannel": True})
        )
        try:
            await self._watch(waiting)
        finally:
            waiting.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await waiting

    async def _watch(self, waiting: "asyncio.Future[Any]") -> None:
        """Return when the socket is old. Raises what it ends by, UnreachableError when it is
        silent: ccxt notices that after 54 s, by a clock that may be set."""
        began = self.monotonic()
        while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
            now = self.monotonic()
            if now - self.heard_s > IDLE_S:
                raise UnreachableError(f"nothing came for {IDLE_S:g} s, not even a pong")
            if now - began > LIFE_S:
                log.info("socket: renewed before its token ends")
                return
        await waiting

    async def _forget(self) -> None:
        """Drop the socket."""
        with suppress(Exception):
            await self.client.ccxt.close_ws_clients()

    def _message(self, socket: Any, message: Any) -> None:
        """Take a push as a prompt; ack and pong are ccxt's, and nothing else is: what it raises
        ends its receive loop without a word."""
        kind = message.get("type") if isinstance(message, dict) else None
        self.heard_s = self.monotonic()
        self.connected = kind != "error"
        if kind == "message":
            self.pushed_s = self.monotonic()
            self.heard()
        elif kind == "error":
            socket.reject(UnreachableError(f"error frame: {str(message.get('data'))[:100]}"))
        elif kind in ("ack", "pong"):
            if kind == "ack":
                self.heard()  # from now on nothing is missed, but before something may have been
            type(self.client.ccxt).handle_message(self.client.ccxt, socket, message)
