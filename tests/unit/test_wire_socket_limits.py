"""What the sockets of the wire simulator refuse because it is too much."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import aiohttp
import pytest

from ops.exchange import connection
from ops.exchange.server import Server
from tests.support.wire_desk import MINUTE, PAST, options, source
from tests.support.wire_hub import Client, refused, run, wire

ORDERS = "/contractMarket/tradeOrders"
TICKER = "/contractMarket/ticker:XBTUSDTM"


@asynccontextmanager
async def reader_of_the_book(server: Server) -> AsyncIterator[Client]:
    """Start a server and yield a client that hears of every change of its book."""
    addresses = await server.start()
    async with aiohttp.ClientSession() as session:
        bullet = server.wire.hub.issue(private=False, base_url=server.wire.endpoint)
        address = f"ws{addresses['futures'][4:]}/endpoint?token={bullet['token']}"
        client = Client(await session.ws_connect(address))
        assert (await client.hear())["type"] == "welcome"
        await client.subscribe("/contractMarket/level2:XBTUSDTM")
        yield client
    await server.stop()


def test_topics_are_bounded() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(private=False)
            many = ",".join(f"S{k}" for k in range(101))
            told = await client.ask(type="subscribe", topic=f"/contractMarket/ticker:{many}")
            text = "exceed max subscription count limitation of 100 per time"
            assert (told["code"], told["data"]) == (509, text)
            for first in (0, 100, 200):
                symbols = ",".join(f"S{k}" for k in range(first, first + 100))
                await client.subscribe(f"/contractMarket/ticker:{symbols}")
            told = await client.ask(type="subscribe", topic=TICKER)
            text = "exceed max subscription count limitation of 300 per session"
            assert (told["code"], told["data"]) == (509, text)

    run(scenario())


def test_sockets_are_bounded() -> None:
    async def scenario() -> None:
        async with wire() as made:
            kept = [await made.client() for _ in range(30)]
            made.now_ms += 60_000
            kept += [await made.client() for _ in range(20)]
            assert len(kept) == len(made.hub.connections)
            text = "exceed max session count limitation of 50"
            await refused(made, made.bullet(True)["token"], 509, text)

    run(scenario())


def test_connects_are_bounded_by_the_minute() -> None:
    async def scenario() -> None:
        async with wire() as made:
            for _ in range(30):
                client = await made.client()
                await client.socket.close()
            made.now_ms += 59_999
            token = made.bullet(True)["token"]
            await refused(made, token, 509, "exceed max connect count 30 per minute")
            made.now_ms += 1
            client = await made.client()
            await client.nothing_came()

    run(scenario())


def test_what_a_client_says_is_bounded_by_ten_seconds() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client, other = await made.client(), await made.client()
            for _ in range(100):
                await client.nothing_came()
            made.now_ms += 9_999
            told = await client.ask(type="subscribe", topic=ORDERS, response=True)
            text = "exceed max message count 100 per 10 seconds"
            assert told == {"id": "me", "type": "error", "code": 509, "data": text}
            assert not any(ORDERS in each.topics for each in made.hub.connections)
            await other.nothing_came()
            made.now_ms += 1
            await client.subscribe(ORDERS)

    run(scenario())


def test_market_time_goes_no_faster_than_its_books_are_read() -> None:
    async def scenario() -> None:
        rows = [(100.0, 110.0), (110.0, 100.0)] * 10
        server = Server(options(source([100.0] * PAST + rows)))
        server.wire.hub.most_waiting = 500
        async with reader_of_the_book(server) as client:
            begin = server.wire.market.sequences[0]
            going = asyncio.create_task(server.wire.advance(server.wire.now() + 20 * MINUTE))
            heard = [(await client.hear())["data"]["sequence"] for _ in range(5_000)]
            assert heard == list(range(begin + 1, begin + 5_001))  # far more than are kept
            await client.socket.close()
            await going

    run(scenario())


def test_a_gap_is_one_of_the_books_own_numbers_too() -> None:
    async def scenario() -> None:
        server = Server(options(source([100.0] * PAST + [(100.0, 110.0)])))
        async with reader_of_the_book(server) as client:
            server.wire.faults.add({"kind": "ws_gap", "topic": "/contractMarket/level2", "nth": 2})
            going = asyncio.create_task(server.wire.advance(server.wire.now() + MINUTE))
            pushes = [await client.hear() for _ in range(4)]
            await going
            await client.socket.close()
        numbers = [(push["sn"], push["data"]["sequence"]) for push in pushes]
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(numbers)]
        gap = steps[0][0]
        assert gap > 1
        assert steps == [(gap, 1), (1, gap), (1, 1)]

    run(scenario())


def test_nobody_waits_twice_for_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "READ_S", 0.05)

    async def scenario() -> None:
        async with wire(most_waiting=4) as made:
            await made.client(ORDERS)
            (deaf,) = made.hub.connections
            for _ in range(3):
                deaf.put("{}")  # the writer gets no turn before the first wait
            monkeypatch.setattr(deaf.waiting, "qsize", lambda: 3)
            async with asyncio.timeout(5):
                await made.hub.until_read()
            assert not deaf.reads
            monkeypatch.setattr(connection, "READ_S", 60.0)
            async with asyncio.timeout(5):
                await made.hub.until_read()
            monkeypatch.undo()
            while deaf.waiting.qsize():
                await asyncio.sleep(0)
            await made.hub.until_read()
            assert deaf.reads  # it has caught up

    run(scenario())
