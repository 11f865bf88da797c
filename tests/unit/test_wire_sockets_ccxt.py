"""The sockets of the wire simulator under unmodified ccxt.pro."""

import asyncio
from typing import Any

import ccxt
import pytest

from tests.support.wire_hub import LONG_S, Wire, run, trader, wire

ORDERS = "/contractMarket/tradeOrders"
TICKER = "/contractMarket/ticker:XBTUSDTM"
SYMBOL = "BTC/USDT:USDT"


async def states(exchange: Any, count: int) -> list[tuple[str, float]]:
    """Return (status, filled) of the next events of orders."""
    seen = []
    for _ in range(count):
        [order] = await asyncio.wait_for(exchange.watch_orders(SYMBOL), LONG_S)
        seen.append((order["status"], order["filled"]))
    return seen


async def until_subscribed(made: Wire, topic: str) -> None:
    """Wait until a client listens to a topic."""
    async with asyncio.timeout(LONG_S):
        while not any(topic in each.topics for each in made.hub.connections):
            await asyncio.sleep(0)


def test_ccxt_watches_an_order_from_open_to_filled() -> None:
    async def scenario() -> None:
        async with wire() as made, trader(made.url) as exchange:
            watching = asyncio.create_task(states(exchange, 1))
            await until_subscribed(made, ORDERS)
            assert made.hub.connections[0].name == "privateFutures"
            assert made.hub.connections[0].socket.compress
            made.order()
            assert await watching == [("open", 0.0)]
            watching = asyncio.create_task(states(exchange, 1))
            await asyncio.sleep(0)
            match = {"matchPrice": "60000.0", "matchSize": "2", "tradeId": "9"}
            made.order(type="match", status="match", filledSize="2", remainSize="0", **match)
            assert await watching == [("open", 2.0)]
            watching = asyncio.create_task(states(exchange, 1))
            await asyncio.sleep(0)
            made.order(type="filled", status="done", filledSize="2", remainSize="0")
            assert await watching == [("closed", 2.0)]
            [trade] = exchange.myTrades
            assert (trade["id"], trade["price"], trade["amount"]) == ("9", 60_000.0, 2.0)

    run(scenario())


def test_ccxt_watches_and_unwatches_a_ticker() -> None:
    async def scenario() -> None:
        async with wire() as made, trader(made.url) as exchange:
            watching = asyncio.create_task(exchange.watch_ticker(SYMBOL))
            await until_subscribed(made, TICKER)
            made.ticker("61234.5")
            assert (await asyncio.wait_for(watching, LONG_S))["last"] == 61_234.5
            await asyncio.wait_for(exchange.un_watch_ticker(SYMBOL), LONG_S)
            assert made.hub.connections[0].topics == set()

    run(scenario())


def test_ccxt_comes_back_after_a_close_with_the_same_token() -> None:
    async def scenario() -> None:
        async with wire() as made, trader(made.url) as exchange:
            watching = asyncio.create_task(states(exchange, 1))
            await until_subscribed(made, ORDERS)
            made.faults.add({"kind": "ws_close"})
            with pytest.raises(ccxt.NetworkError):
                await watching
            watching = asyncio.create_task(states(exchange, 1))
            await until_subscribed(made, ORDERS)
            made.order()
            assert await watching == [("open", 0.0)]
            assert (made.hub.opened, made.hub.issued) == (2, 1)

    run(scenario())


def test_ccxt_fetches_a_new_token_after_token_is_expired() -> None:
    async def scenario() -> None:
        failed = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.set())
        async with wire() as made, trader(made.url) as exchange:
            made.faults.add({"kind": "ws_expired_token"})
            watching = asyncio.create_task(states(exchange, 1))
            # ccxt raises out of its own callback; the one who waits does not hear of it.
            await asyncio.wait_for(failed.wait(), LONG_S)
            watching.cancel()
            await asyncio.wait({watching})
            watching = asyncio.create_task(states(exchange, 1))
            await until_subscribed(made, ORDERS)
            made.order()
            assert await watching == [("open", 0.0)]
            assert (made.hub.opened, made.hub.issued) == (2, 2)

    run(scenario())
