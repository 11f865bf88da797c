"""The private WebSocket as a prompt: whatever it says, the account is read; silence harms nothing.

Rules of this file: nothing is believed that comes over the socket, because it may be late, doubled,
out of order or missing. A socket that fails, or has been silent for longer than pings allow, is
built anew with a new token, less and less often; and once a day, before its token ends.
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
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0


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
        url = await ccxt.negotiate(True, True)
        self.connects += 1
        waiting = asyncio.ensure_future(
            ccxt.subscribe(url, "never", TOPIC, {"privateChannel": True})
        )
        try:
            await asyncio.wait_for(waiting, LIFE_S)
        except TimeoutError:
            log.info("socket: renewed before its token ends")
        finally:
            waiting.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await waiting

    async def _forget(self) -> None:
        """Drop socket and token: the next one begins with a new token."""
        ccxt = self.client.ccxt
        with suppress(Exception):
            await ccxt.close_ws_clients()
        ccxt.options.pop("urls", None)

    def _message(self, socket: Any, message: Any) -> None:
        """Take a push as a prompt; welcome, ack and pong are ccxt's."""
        kind = message.get("type") if isinstance(message, dict) else None
        self.connected = kind != "error"
        if kind == "message":
            self.pushed_s = self.monotonic()
            self.heard()
        elif kind == "error":
            # ccxt would raise inside its receive loop, which then is dead without a word.
            socket.reject(UnreachableError(f"error frame: {str(message.get('data'))[:100]}"))
        else:
            type(self.client.ccxt).handle_message(self.client.ccxt, socket, message)
