"""The private socket as a prompt: ccxt's own one on the wire simulator's hub, over real sockets.

One clock for both sides, moved by hand: the exchange's market time and the bot's monotonic one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from types import SimpleNamespace

import pytest

from bot.adapters import kucoin_prompt
from bot.adapters.kucoin_client import TOKEN_WEIGHT, KucoinClient
from bot.adapters.kucoin_prompt import (
    FIRST_PAUSE_S,
    IDLE_S,
    LIFE_S,
    LONGEST_PAUSE_S,
    PING_MS,
    TOPIC,
    Prompter,
)
from bot.adapters.kucoin_site import Credentials, Site
from bot.adapters.token_bucket import WINDOW_S, Priority, TokenBucket
from bot.core.errors import UnreachableError
from ops.exchange.hand_clock import HandClock
from ops.exchange.sockets import LIFE_MS, PING_TIMEOUT_MS
from tests.support.wire_hub import LONG_S, NOW_MS, Wire, run, wire

PONG_MS = 20
"""between two pings in these tests"""
TRIES = 10


class Listener:
    """A prompter on a hub, and what it has prompted."""

    def __init__(self, made: Wire) -> None:
        self.made = made
        self.hub = made.hub
        self.prompts = 0
        self.looks = 0
        """how often it has asked for the time"""
        self.bucket = TokenBucket(monotonic=self.seconds)
        site = Site(made.url, made.url, LONG_S)
        self.client = KucoinClient(
            site, Credentials("k", "s", "p"), HandClock(NOW_MS), self.bucket, slim=False
        )
        # ccxt gives pongs two intervals by the real clock; here these are no time at all.
        self.client.ccxt.options["ws"] = {"maxPingPongMisses": 1e6}
        self.prompter = Prompter(self.client, self.prompt, Random(1), self.monotonic)

    def seconds(self) -> float:
        return (self.made.now_ms - NOW_MS) / 1000.0

    def monotonic(self) -> float:
        self.looks += 1
        return self.seconds()

    def prompt(self) -> None:
        self.prompts += 1

    def advance(self, seconds: float) -> None:
        """Let time pass for both sides."""
        self.made.now_ms += int(seconds * 1000)

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(LONG_S):
            while not wanted():
                await asyncio.sleep(0.001)

    async def subscribed(self, opened: int, prompts: int) -> None:
        """Wait until the connection of a number, from 1, listens and knows it."""
        await self.until(lambda: (self.hub.opened, self.prompts) == (opened, prompts))
        assert [each.topics for each in self.hub.connections] == [{TOPIC}]
        assert self.prompter.connected

    async def looked(self) -> None:
        """Wait until it has looked at the time again, to and fro."""
        before = self.looks
        await self.until(lambda: self.looks > before + 2)

    def used(self) -> int:
        """Return what was taken of the request budget."""
        return round((1.0 - self.bucket.level) * self.bucket.limit)

    async def spend(self, priority: Priority) -> None:
        """Use up what a priority may take of the request budget."""
        while self.bucket.wait_s(1, priority) == 0.0:
            await self.bucket.take(1, priority)

    def silence(self, *, on: bool) -> None:
        """Let nothing come over any socket, or what is sent from now on."""
        if on:
            self.made.faults.add({"kind": "ws_silent"})
        else:
            self.made.faults.clear()


@asynccontextmanager
async def listening(ping_interval_ms: int = PING_MS) -> AsyncIterator[Listener]:
    """Yield a prompter that has connected."""
    async with wire(ping_interval_ms=ping_interval_ms) as made:
        listener = Listener(made)
        await listener.client.open()
        task = asyncio.create_task(listener.prompter.run())
        try:
            await listener.subscribed(1, prompts=1)
            yield listener
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await listener.client.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kucoin_prompt, "LOOK_S", 0.002)
    monkeypatch.setattr(kucoin_prompt, "FIRST_PAUSE_S", 0.002)
    monkeypatch.setattr(kucoin_prompt, "LONGEST_PAUSE_S", 0.002)


def test_a_pong_may_take_its_time() -> None:
    assert IDLE_S * 1000 > PING_MS + PING_TIMEOUT_MS


def test_a_socket_with_nothing_but_pongs_is_kept() -> None:
    async def scenario() -> None:
        async with listening(PONG_MS) as listener:
            for _ in range(10):
                listener.advance(IDLE_S - 1.0)
                await listener.until(lambda: listener.prompter.heard_s == listener.seconds())
            await listener.looked()
            assert (listener.hub.opened, listener.prompter.connected) == (1, True)
            assert (listener.prompts, listener.prompter.pushed_s) == (1, 0.0)

    run(scenario())


def test_a_silent_socket_is_opened_anew() -> None:
    async def scenario() -> None:
        async with listening() as listener:
            listener.silence(on=True)
            listener.advance(IDLE_S - 1.0)
            await listener.looked()
            assert (listener.hub.opened, listener.prompter.connected) == (1, True)
            listener.advance(2.0)
            await listener.until(lambda: listener.hub.opened == 2)
            assert listener.hub.issued == 2  # with a new token
            assert not listener.prompter.connected  # it was not greeted
            listener.advance(IDLE_S - 1.0)
            await listener.looked()
            assert listener.hub.opened == 2
            listener.silence(on=False)
            listener.advance(2.0)
            await listener.subscribed(3, prompts=2)
            listener.made.order()
            await listener.until(lambda: listener.prompts == 3)
            assert listener.prompter.pushed_s == listener.seconds()

    run(scenario())


@pytest.mark.parametrize(("told_ms", "kept_ms"), [(50_000, PING_MS), (5_000, 5_000)])
def test_pings_are_never_rarer_than_silence_is_measured(told_ms: int, kept_ms: int) -> None:
    async def scenario() -> None:
        async with listening(told_ms) as listener:
            assert [c.keepAlive for c in listener.client.ccxt.clients.values()] == [kept_ms]

    run(scenario())


def test_each_token_is_counted() -> None:
    async def scenario() -> None:
        async with listening() as listener:
            assert listener.used() == TOKEN_WEIGHT
            listener.made.faults.add({"kind": "ws_close"})
            await listener.subscribed(2, prompts=2)
            assert listener.used() == 2 * TOKEN_WEIGHT

    run(scenario())


def test_a_socket_is_renewed_before_its_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kucoin_prompt, "IDLE_S", 1e9)  # hours pass at once here

    async def scenario() -> None:
        async with listening() as listener:
            listener.advance(LIFE_S - 1.0)
            await listener.looked()
            assert (listener.hub.opened, listener.prompter.connected) == (1, True)
            await listener.spend(Priority.MARKET)
            listener.advance(2.0)
            await listener.until(lambda: listener.bucket.waiting == 1)
            await listener.until(lambda: not listener.hub.connections)  # and not by the exchange
            assert listener.seconds() * 1000 < LIFE_MS
            assert (listener.hub.issued, listener.prompter.connected) == (1, False)
            listener.made.order()  # nobody hears of it
            assert listener.prompts == 1
            listener.advance(WINDOW_S + 1.0)
            await listener.bucket.take(1, Priority.REDUCE)
            await listener.subscribed(2, prompts=2)  # a read finds it
            assert listener.hub.issued == 2
            listener.advance(LIFE_S - 1.0)  # longer than the first token has lived
            await listener.looked()
            listener.made.order()
            await listener.until(lambda: listener.prompts == 3)
            assert (listener.hub.opened, listener.prompter.connected) == (2, True)

    run(scenario())


def test_a_socket_that_told_of_an_error_is_opened_anew() -> None:
    """Its pongs go on, and nothing else would come until its token ends."""

    async def scenario() -> None:
        async with listening(PONG_MS) as listener:
            listener.made.faults.add({"kind": "ws_error_frame"})
            await listener.subscribed(2, prompts=2)

    run(scenario())


def test_what_is_pushed_is_kept_nowhere() -> None:
    """ccxt keeps a thousand orders and trades, and more of a book, for nobody."""

    async def scenario() -> None:
        async with listening() as listener:
            for n in range(3):
                listener.made.order(orderId=str(n))
            await listener.until(lambda: listener.prompts == 4)
            ccxt = listener.client.ccxt
            assert (ccxt.orders, ccxt.triggerOrders, ccxt.myTrades) == (None, None, None)

    run(scenario())


def test_an_exchange_without_tokens_is_asked_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of tries an hour cost the budget that stops need, and the address its welcome."""
    monkeypatch.setattr(kucoin_prompt, "FIRST_PAUSE_S", FIRST_PAUSE_S)
    monkeypatch.setattr(kucoin_prompt, "LONGEST_PAUSE_S", LONGEST_PAUSE_S)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == TRIES:
            raise asyncio.CancelledError

    async def no_token() -> str:
        raise UnreachableError("no token came")

    client = SimpleNamespace(ccxt=SimpleNamespace(), socket_url=no_token)
    prompter = Prompter(client, lambda: None, Random(1), lambda: 0.0)  # type: ignore[arg-type]
    monkeypatch.setattr(kucoin_prompt, "asyncio", SimpleNamespace(sleep=pause))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(prompter.run())
    wanted = [min(FIRST_PAUSE_S * 2.0**n, LONGEST_PAUSE_S) for n in range(TRIES)]
    assert all(0.5 * want <= was < 1.5 * want for was, want in zip(pauses, wanted, strict=True))
    assert pauses[-1] > 30.0 * FIRST_PAUSE_S
