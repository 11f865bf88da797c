"""The sockets of the unified API, which ccxt.pro asks even on a classic account (8.2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from ops.exchange.sockets import UNIFIED_PATH, UNIFIED_PRIVATE_PATH
from tests.integration.test_wire_pro import TRADE, Listener, on
from tests.support.wire_client import SYMBOL
from tests.support.wire_desk import MINUTE, PAST, START

NOW = START + PAST * MINUTE


def test_marks_are_watched_and_unwatched() -> None:
    async def story(listener: Listener) -> None:
        client = listener.client
        watching = await listener.subscribed(
            client.ccxt.watch_mark_price(SYMBOL), "mark-price:XBTUSDTM"
        )
        ticker = await listener.heard(watching)
        known = await client.ccxt.fetch_mark_price(SYMBOL)
        assert (ticker["symbol"], ticker["timestamp"]) == (SYMBOL, NOW)
        assert ticker["markPrice"] == ticker["indexPrice"] == known["markPrice"] > 0.0
        interest = await client.ccxt.fetch_open_interest(SYMBOL)
        assert float(ticker["info"]["oi"]) == interest["openInterestAmount"] > 0.0
        next_one = asyncio.create_task(client.ccxt.watch_mark_price(SYMBOL))
        await asyncio.sleep(0)
        client.advance(999)  # a mark every second
        client.advance(1)
        assert (await listener.heard(next_one))["timestamp"] == NOW + 1_000
        await asyncio.wait_for(client.ccxt.un_watch_mark_price(SYMBOL), 20)
        assert client.control.truth()["sockets"] == [[]]

    on(100.0, 101.0, story=story)


def test_the_funding_rate_is_watched_every_minute() -> None:
    settlement = START + 8 * 60 * MINUTE

    async def story(listener: Listener) -> None:
        client = listener.client
        client.advance(settlement - client.now_ms)
        watching = await listener.subscribed(
            client.ccxt.watch_funding_rate(SYMBOL), "funding-fee:XBTUSDTM"
        )
        client.advance(1)
        rate = await listener.heard(watching)
        shown = ("symbol", "fundingRate", "fundingTimestamp", "nextFundingTimestamp", "interval")
        eight_hours = 8 * 60 * MINUTE
        assert [rate[key] for key in shown] == [
            SYMBOL,
            0.0002,
            settlement,
            settlement + eight_hours,
            "8h",
        ]
        next_one = asyncio.create_task(client.ccxt.watch_funding_rate(SYMBOL))
        await asyncio.sleep(0)
        client.advance(MINUTE - 1)
        client.advance(1)
        assert (await listener.heard(next_one))["info"]["s"] == "XBTUSDTM"
        await asyncio.wait_for(client.ccxt.un_watch_funding_rate(SYMBOL), 20)
        assert client.control.truth()["sockets"] == [[]]

    on(*[100.0] * (8 * 60), story=story, funding=[(0, settlement, 0.0002)])


def test_positions_are_watched_with_a_token_of_the_spot_host() -> None:
    async def story(listener: Listener) -> None:
        client = listener.client
        await client.ccxt.create_order(SYMBOL, "market", "sell", 3, None, TRADE)
        client.advance(1)
        # Over REST first. An event of a symbol that is not among these ends ccxt's receive loop,
        # as with `watch_position` (reference 8.3.2).
        [first] = await asyncio.wait_for(client.ccxt.watch_positions([SYMBOL]), 20)
        assert (first["side"], first["contracts"]) == ("short", 3.0)
        watching = await listener.subscribed(client.ccxt.watch_positions([SYMBOL]), "positionAll")
        assert client.control.truth()["requests"]["POST /api/v2/bullet-private"] == 1
        await client.ccxt.create_order(SYMBOL, "market", "sell", 2, None, TRADE)
        client.advance(1)
        [heard] = await listener.heard(watching)
        [known] = await client.ccxt.fetch_positions([SYMBOL])
        alike = (
            *("id", "symbol", "side", "contracts", "contractSize", "entryPrice"),
            *("markPrice", "unrealizedPnl", "realizedPnl", "liquidationPrice", "marginMode"),
            "initialMargin",
        )
        assert {key: heard[key] for key in alike} == {key: known[key] for key in alike}
        assert (heard["side"], heard["contracts"]) == ("short", 5.0)
        assert heard["maintenanceMargin"] == pytest.approx(heard["notional"] * 0.01)
        assert heard["lastUpdateTimestamp"] == NOW + 1
        closing = asyncio.create_task(client.ccxt.watch_positions([SYMBOL]))
        await asyncio.sleep(0)
        await client.ccxt.create_order(SYMBOL, "market", "buy", 5, None, TRADE)
        client.advance(1)
        assert (await listener.heard(closing))[-1]["contracts"] == 0.0

    on(100.0, story=story)


@asynccontextmanager
async def plain(listener: Listener, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Connect without ccxt."""
    address = f"ws{listener.exchange.addresses['futures'][4:]}{path}"
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as socket:
        yield socket


def test_frames_that_make_no_sense_are_answered() -> None:
    asked: list[tuple[Any, str]] = [
        ({"action": "subscribe", "channel": "mark-price", "tradeType": "FUTURES"}, "missing `symb"),
        ({"action": "subscribe", "channel": "mark-price", "symbol": "A"}, "expected tradeType FUT"),
        (
            {"action": "subscribe", "channel": ["obu"], "symbol": "A"},
            "channel ['obu'] is not found",
        ),
        (
            {
                "action": "subscribe",
                "channel": "mark-price",
                "tradeType": "FUTURES",
                "symbol": "NOUSDTM",
            },
            "symbol NOUSDTM is not found",
        ),
        ({"action": "subscribe", "channel": "positionAll", "tradeType": "TRADE"}, "channel positi"),
        ({"action": "subscribe", "channel": "positionAll", "tradeType": "UNIFIED"}, "expected tra"),
        ({"type": "subscribe", "topic": "/contractMarket/ticker:XBTUSDTM"}, "action is not supp"),
        ([1], "action is not supported"),
    ]

    async def story(listener: Listener) -> None:
        async with plain(listener, UNIFIED_PATH) as socket:
            assert (await socket.receive_json(timeout=20))["data"] == "welcome"
            for frame, reason in asked:
                await socket.send_json({"id": "7", **frame} if isinstance(frame, dict) else frame)
                told = await socket.receive_json(timeout=20)
                assert told["result"] is False
                assert told["reason"].startswith(reason)
            await socket.send_json({"id": "8", "type": "ping"})
            assert (await socket.receive_json(timeout=20))["type"] == "pong"

    on(100.0, story=story)


def test_the_private_socket_needs_a_token() -> None:
    async def story(listener: Listener) -> None:
        async with plain(listener, f"{UNIFIED_PRIVATE_PATH}?token=made-up") as socket:
            told = await socket.receive_json(timeout=20)
            assert (told["result"], told["reason"]) == (False, "token is invalid")
            assert (await socket.receive(timeout=20)).type is not aiohttp.WSMsgType.TEXT

    on(100.0, story=story)


def test_a_fault_of_one_channel_takes_its_push() -> None:
    async def story(listener: Listener) -> None:
        client = listener.client
        lost = {"kind": "ws_drop", "topic": "mark-price"}
        client.control("POST", "/control/faults", faults=[lost])
        watching = await listener.subscribed(
            client.ccxt.watch_mark_price(SYMBOL), "mark-price:XBTUSDTM"
        )
        client.advance(1_000)
        assert (await listener.heard(watching))["timestamp"] == NOW + 1_000

    on(100.0, story=story)
