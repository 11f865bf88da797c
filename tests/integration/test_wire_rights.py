"""What the key of the wire simulator may do, and from where, under unmodified ccxt."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.wire_client import SYMBOL, Client, connected
from tests.support.wire_desk import PAST, options, source


def on(story: Callable[[Client], Awaitable[None]]) -> None:
    """Play a story with a client of a new simulator."""

    async def play() -> None:
        async with connected(options(source([100.0] * (PAST + 1)))) as client:
            await story(client)

    asyncio.run(play())


def allow(client: Client, what: str, *, enabled: bool) -> None:
    """Give the key a right, or take it."""
    assert client.control("POST", "/control/market", do=what, enabled=enabled) == {}


def test_a_key_without_the_right_to_trade_reads() -> None:
    async def story(client: Client) -> None:
        ccxt, told = client.ccxt, "400007 AuthenticationError"
        allow(client, "futures", enabled=False)
        for _ in range(2):
            assert await client.code_of(ccxt.create_order(SYMBOL, "market", "buy", 1)) == told
            assert await client.code_of(ccxt.cancel_all_orders(SYMBOL)) == told
        assert await ccxt.fetch_positions() == []
        await ccxt.futuresPrivatePostBulletPrivate()
        assert (await ccxt.privateGetUserApiKey())["data"]["permission"] == "General"
        allow(client, "futures", enabled=True)
        await ccxt.create_order(SYMBOL, "market", "buy", 1)

    on(story)


def test_a_key_of_another_address_does_nothing() -> None:
    async def story(client: Client) -> None:
        ccxt, told = client.ccxt, "400006 AuthenticationError"
        allow(client, "address", enabled=False)
        for _ in range(2):
            assert await client.code_of(ccxt.fetch_positions()) == told
            assert await client.code_of(ccxt.privateGetUserApiKey()) == told
            assert await client.code_of(ccxt.futuresPrivatePostBulletPrivate()) == told
        await ccxt.fetch_ticker(SYMBOL)
        client.control("POST", "/control/reset")
        assert await ccxt.fetch_positions() == []

    on(story)
