"""The sockets of the wire simulator: real connections of a plain client."""

import asyncio
import base64
import os
import socket
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from yarl import URL

from ops.exchange import sockets
from tests.support.wire_hub import LONG_S, NOW_MS, Wire, refused, run, wire

ORDERS = "/contractMarket/tradeOrders"
TICKER = "/contractMarket/ticker:XBTUSDTM"
DAY_MS = 86_400_000


def test_a_bullet_says_where_and_how_often() -> None:
    async def scenario() -> None:
        async with wire() as made:
            first, second = made.bullet(True), made.bullet(True)
            assert first["token"] != second["token"]
            assert first["instanceServers"] == [
                {
                    "endpoint": f"ws{made.url[4:]}/endpoint",
                    "encrypt": False,
                    "protocol": "websocket",
                    "pingInterval": 18_000,
                    "pingTimeout": 10_000,
                }
            ]

    run(scenario())


def test_tokens_follow_from_the_seed() -> None:
    same, other = Wire(seed=1), Wire(seed=2)
    assert Wire(seed=1).bullet(True) == same.bullet(True)
    assert other.bullet(True)["token"] != same.bullet(True)["token"]


def test_old_tokens_are_forgotten_when_there_are_too_many() -> None:
    made = Wire()
    tokens = [made.bullet(False)["token"] for _ in range(1_001)]
    assert list(made.hub.tickets) == tokens[1:]


def test_welcome_ack_and_pong_carry_the_ids_of_the_client() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.connect(made.bullet(False)["token"], "publicFutures")
            assert await client.hear() == {"id": "publicFutures", "type": "welcome"}
            asked = {"type": "subscribe", "topic": TICKER}
            await client.say(id="7", **asked)  # nobody wants to know
            await client.say(id=8, **asked, response=True)
            assert await client.hear() == {"id": "8", "type": "ack"}
            assert await client.ask(type="ping") == {
                "id": "1",
                "type": "pong",
                "timestamp": NOW_MS * 1000,
            }

    run(scenario())


def test_a_ping_of_the_protocol_is_answered() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client()
            await client.socket.pong()
            await client.socket.ping(b"there?")
            heard = await client.socket.receive(LONG_S)
            assert (heard.type, heard.data) == (aiohttp.WSMsgType.PONG, b"there?")

    run(scenario())


def test_a_push_carries_topic_subject_number_and_data() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TICKER, private=False)
            for number in (1, 2):
                made.ticker(f"6000{number}.0")
                heard = await client.hear()
                assert heard == {
                    "topic": TICKER,
                    "type": "message",
                    "subject": "ticker",
                    "sn": number,
                    "data": {
                        "symbol": "XBTUSDTM",
                        "price": f"6000{number}.0",
                        "ts": NOW_MS * 1_000_000,
                    },
                }
            made.hub.publish("/contractMarket/ticker:ETHUSDTM", "ticker", {}, private=False)
            await client.nothing_came()

    run(scenario())


def test_numbers_count_per_topic_and_without_listeners() -> None:
    async def scenario() -> None:
        async with wire() as made:
            made.ticker()
            made.order()
            made.order()
            client = await made.client(TICKER, ORDERS)
            made.ticker()
            made.order()
            assert [(await client.hear())["sn"] for _ in range(2)] == [2, 3]

    run(scenario())


def test_comma_lists_subscribe_and_unsubscribe_each_symbol() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client("/contractMarket/ticker:XBTUSDTM,ETHUSDTM", private=False)
            made.ticker()
            assert (await client.hear())["topic"] == TICKER
            gone = {"type": "unsubscribe", "topic": "/contractMarket/ticker:SOLUSDTM,XBTUSDTM"}
            assert await client.ask(**gone, response=True) == {"id": "2", "type": "ack"}
            await client.say(id="3", **gone)
            made.ticker()
            made.hub.publish("/contractMarket/ticker:ETHUSDTM", "ticker", {}, private=False)
            assert (await client.hear())["topic"] == "/contractMarket/ticker:ETHUSDTM"

    run(scenario())


def test_orders_come_plainly_or_by_symbol() -> None:
    async def scenario() -> None:
        async with wire() as made:
            plain = await made.client(ORDERS)
            here = await made.client(f"{ORDERS}:XBTUSDTM")
            other = await made.client(f"{ORDERS}:ETHUSDTM")
            data = made.order()
            heard = await plain.hear()
            assert (heard["topic"], heard["subject"]) == (ORDERS, "orderChange")
            heard = await here.hear()
            assert (heard["topic"], heard["subject"]) == (f"{ORDERS}:XBTUSDTM", "symbolOrderChange")
            assert heard["data"] == data
            await other.nothing_came()

    run(scenario())


def test_a_private_event_needs_a_private_token() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TICKER, private=False)
            made.hub.publish(TICKER, "ticker", {}, private=True)
            await client.nothing_came()

    run(scenario())


def test_every_topic_of_the_contract_is_served() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(
                "/contractMarket/tickerV2:XBTUSDTM",
                "/contractMarket/limitCandle:XBTUSDTM_1min,ETHUSDTM_4hour",
                "/contractMarket/level2:XBTUSDTM",
                "/contractMarket/level2Depth5:XBTUSDTM",
                "/contractMarket/level2Depth50:XBTUSDTM",
                "/contractMarket/execution:XBTUSDTM",
                "/contractMarket/advancedOrders",
                "/contractMarket/advancedOrders:XBTUSDTM",
                "/contractAccount/wallet",
                "/contract/position:XBTUSDTM",
            )
            await client.nothing_came()

    run(scenario())


@pytest.mark.parametrize(
    ("asked", "code", "text"),
    [
        ({"topic": "/contractMarket/none:A"}, 404, "topic /contractMarket/none:A is not found"),
        ({"topic": "/market/ticker:BTC-USDT"}, 404, "topic /market/ticker:BTC-USDT is not found"),
        ({"topic": ORDERS}, 403, f"topic {ORDERS} is private, the token is not"),
        ({"topic": "/contractMarket/ticker"}, 400, "topic /contractMarket/ticker is invalid"),
        ({"topic": f"{TICKER},"}, 400, f"topic {TICKER}, is invalid"),
        (
            {"topic": "/contractMarket/limitCandle:XBTUSDTM_3min"},
            400,
            "topic /contractMarket/limitCandle:XBTUSDTM_3min is invalid",
        ),
        ({"topic": ""}, 406, "topic is required"),
        ({"topic": 5}, 406, "topic is required"),
        ({}, 406, "topic is required"),
        ({"type": "unsubscribe", "topic": "/none"}, 404, "topic /none is not found"),
        ({"type": "openTunnel"}, 415, "type is not supported"),
    ],
)
def test_a_wrong_frame_gets_an_error_frame(asked: dict[str, Any], code: int, text: str) -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(private=False)
            told = await client.ask(**{"type": "subscribe", **asked})
            assert told == {"id": "1", "type": "error", "code": code, "data": text}
            await client.nothing_came()

    run(scenario())


@pytest.mark.parametrize(
    "topic",
    [
        "/contractMarket/ticker:NOUSDTM",
        "/contractMarket/ticker:XBTUSDTM,NOUSDTM",  # all of it or nothing
        "/contractMarket/limitCandle:NOUSDTM_1min",
        "/contractMarket/tradeOrders:NOUSDTM",
        "/contract/position:NOUSDTM",
    ],
)
def test_a_contract_that_does_not_exist_has_no_topics(topic: str) -> None:
    async def scenario() -> None:
        async with wire() as made:
            made.hub.contracts = {"XBTUSDTM"}
            client = await made.client("/contractMarket/limitCandle:XBTUSDTM_1min", ORDERS)
            told = await client.ask(type="subscribe", topic=topic, response=True)
            text = f"topic {topic} is not found"
            assert told == {"id": "3", "type": "error", "code": 404, "data": text}
            assert len(made.hub.connections[0].topics) == 2

    run(scenario())


def test_what_is_no_json_object_gets_an_error_frame() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client()
            for text in ("nonsense", "[]", "7", "[" * 50_000):
                await client.socket.send_str(text)
                told = await client.hear()
                assert (told["id"], told["code"]) == ("me", 415)
            await client.socket.send_bytes(b"\xff")
            assert (await client.hear())["code"] == 415

    run(scenario())


def test_the_spot_socket_serves_no_positions() -> None:
    async def scenario() -> None:
        async with wire() as made:
            bullet = made.hub.issue(private=True, base_url="ws://127.0.0.1/", spot=True)
            client = await made.connect(bullet["token"])
            assert (await client.hear())["type"] == "welcome"
            told = await client.ask(type="subscribe", topic="/contract/position:XBTUSDTM")
            text = "topic /contract/position:XBTUSDTM is not found"
            assert told == {"id": "1", "type": "error", "code": 404, "data": text}

    run(scenario())


def test_a_token_admits_for_a_day_of_market_time() -> None:
    async def scenario() -> None:
        async with wire() as made:
            token = made.bullet(True)["token"]
            made.now_ms += DAY_MS - 1
            client = await made.connect(token)
            assert (await client.hear())["type"] == "welcome"
            made.now_ms += 1
            await refused(made, token, 401, "token is expired")
            await refused(made, "unknown", 401, "token is invalid")
            await refused(made, "", 401, "token is invalid")

    run(scenario())


def test_a_connection_lasts_a_day_of_market_time() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client, quiet = await made.client(TICKER), await made.client()
            made.now_ms += DAY_MS - 1
            made.ticker()
            assert (await client.hear())["type"] == "message"
            await quiet.nothing_came()
            made.now_ms += 1
            await quiet.say(type="ping")
            assert await quiet.hear() is None
            made.ticker()
            assert await client.hear() is None
            assert client.socket.close_code == aiohttp.WSCloseCode.GOING_AWAY


def test_the_push_that_shows_how_late_it_is_still_arrives() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TICKER)
            made.now_ms += DAY_MS
            made.ticker()
            assert (await client.hear())["type"] == "message"
            assert await client.hear() is None

    run(scenario())


def test_a_silent_client_is_disconnected() -> None:
    async def scenario() -> None:
        async with wire(ping_interval_ms=-9_999) as made:  # and 10 s of grace: 1 ms
            client = await made.connect(made.bullet(True)["token"])
            assert (await client.hear())["type"] == "welcome"
            assert (await client.hear())["data"] == "ping timeout"
            assert await client.hear() is None

    run(scenario())


def test_pings_of_the_protocol_are_no_sign_of_life() -> None:
    async def scenario() -> None:
        async with wire(ping_interval_ms=-9_000) as made:  # and 10 s of grace: a second
            client = await made.client()
            for _ in range(5):
                await asyncio.sleep(0.25)
                await client.nothing_came()  # one of its own is
            heard = None
            while heard is None:  # what comes before the error are pongs of the protocol
                await client.socket.ping()
                heard = await client.hear()
            assert heard["data"] == "ping timeout"

    run(scenario())


def test_a_request_that_is_no_handshake_is_refused() -> None:
    async def scenario() -> None:
        async with wire() as made, made.session.get(f"{made.url}/endpoint") as answer:
            assert answer.status == 400

    run(scenario())


def test_messages_are_compressed_when_the_client_offers_it() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(ORDERS)
            assert client.socket.compress
            data = made.order(remark="x" * 100_000)
            assert (await client.hear())["data"] == data

    run(scenario())


async def open_deaf(made: Wire, topic: str) -> socket.socket:
    """Return a connection that listens to a topic and never reads again."""
    loop = asyncio.get_running_loop()
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    url = URL(made.url)
    await loop.sock_connect(deaf, (url.host, url.port))
    token = made.bullet(True)["token"]
    lines = [
        f"GET /endpoint?token={token} HTTP/1.1",
        *("Host: local", "Upgrade: websocket", "Connection: Upgrade"),
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        *("Sec-WebSocket-Version: 13", "", ""),
    ]
    await loop.sock_sendall(deaf, "\r\n".join(lines).encode())
    text = f'{{"type":"subscribe","topic":"{topic}","response":true}}'.encode()
    head = bytes([0x81, 0x80 | len(text)])  # text, masked with zeros
    await loop.sock_sendall(deaf, head + bytes(4) + text)
    heard = b""
    while b'"ack"' not in heard:
        heard += await loop.sock_recv(deaf, 4096)
    return deaf


def test_a_slow_reader_is_disconnected_and_nobody_waits_for_it() -> None:
    async def scenario() -> None:
        async with wire(most_waiting=100) as made:
            client = await made.client(ORDERS)
            deaf = await open_deaf(made, ORDERS)
            assert len(made.hub.connections) == 2
            sent = 0
            while len(made.hub.connections) == 2:
                made.order(remark=os.urandom(50_000).hex())
                sent += 1
                assert (await client.hear())["sn"] == sent
                assert sent < 5_000
            await client.nothing_came()
            with suppress(ConnectionResetError):
                while await asyncio.get_running_loop().sock_recv(deaf, 1_000_000):
                    pass
            deaf.close()

    run(scenario())


def test_close_ends_every_connection_and_admits_nobody() -> None:
    async def scenario() -> None:
        async with wire() as made:
            clients = [await made.client(ORDERS) for _ in range(3)]
            made.order()
            await made.hub.close()
            for client in clients:
                assert (await client.hear())["type"] == "message"
                assert await client.hear() is None
            assert made.hub.connections == []
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await made.connect(made.bullet(True)["token"])

    run(scenario())


def test_close_does_not_wait_for_the_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "CLOSE_S", 0.05)

    async def scenario() -> None:
        async with wire() as made:
            deaf = await open_deaf(made, ORDERS)
            for _ in range(200):
                made.order(remark="x" * 100_000)
            [connection] = made.hub.connections
            await made.hub.close()
            assert not connection.waiting.empty()
            assert made.hub.connections == []
            deaf.close()

    run(scenario())
