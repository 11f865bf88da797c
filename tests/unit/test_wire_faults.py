"""The fault switches of the wire simulator: each kind fires, is counted, and stops."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import ccxt
import pytest
from aiohttp import web

from ops.exchange.fault_specs import KINDS
from ops.exchange.faults import MOST_FAULTS, Faults
from tests.support.wire_hub import LONG_S, NOW_MS, run, serving, trader, wire

ORDERS = "/api/v1/orders"
TOPIC = "/contractMarket/tradeOrders"
DROPPED = aiohttp.ServerDisconnectedError
POSITIONS = [{"symbol": f"S{k}", "currentQty": k, "isOpen": True, "leverage": 3} for k in range(5)]


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def role_of(body: dict[str, Any] | None) -> str | None:
    return str(body.get("clientOid", "")).rpartition("-")[2] if body else None


class Rest:
    """A few calls behind the guard, and what was processed of them."""

    def __init__(self, seed: int = 0) -> None:
        self.clock = Clock()
        self.faults = Faults(seed, self.clock)
        self.processed: Counter[str] = Counter()
        self.came = asyncio.Event()
        """set with each order that is processed"""
        self.session: aiohttp.ClientSession
        self.url = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.processed[f"{request.method} {request.path}"] += 1
        data: Any = "done"
        if request.method == "POST":
            body = await request.json()
            data = {"orderId": "1", "clientOid": body["clientOid"]} if "clientOid" in body else body
            self.came.set()
        elif request.path.endswith("/timestamp"):
            data = NOW_MS + self.faults.skew_ms
        elif request.path.endswith("/status"):
            data = {"status": "open", "msg": ""}
        elif request.path.endswith("/positions"):
            data = POSITIONS
        elif request.path.endswith("/text"):
            return web.Response(text="text")
        return web.json_response({"code": "200000", "data": data}, headers={"gw-ratelimit": "1"})

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer, JSON where it is."""
        async with self.session.request(method, self.url + path, **options) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text

    async def get(self, path: str) -> tuple[int, Any]:
        return await self.call("GET", path)

    async def place(self, role: str = "entry") -> tuple[int, Any]:
        return await self.call("POST", ORDERS, json={"clientOid": f"x-{role}"})

    def count(self, index: int = 0) -> tuple[int, int | None]:
        """Return how often a fault fired, and how often it still can."""
        told = self.faults.describe()[index]
        return told["fired"], told["left"]


@asynccontextmanager
async def guarded(seed: int = 0) -> AsyncIterator[Rest]:
    rest = Rest(seed)
    app = web.Application(middlewares=[rest.faults.middleware(role_of)])
    for path in (ORDERS, "/api/v1/timestamp", "/api/v1/status", "/api/v1/positions", "/text"):
        app.router.add_route("*", path, rest.serve)
    app.router.add_route("*", ORDERS + "/{id}", rest.serve)
    async with serving(app) as rest.url, aiohttp.ClientSession() as rest.session:
        yield rest


@pytest.mark.parametrize(
    ("fault", "status", "body", "processed"),
    [
        (
            {"kind": "status", "status": 429},
            429,
            {
                "code": "429000",
                "msg": "Too many requests in a short period of time, please retry later.",
            },
            0,
        ),
        ({"kind": "status", "status": 504, "body": "late"}, 504, "late", 0),
        ({"kind": "status", "status": 200, "body": {"data": []}}, 200, {"data": []}, 0),
        (
            {"kind": "error", "code": "300003", "msg": "balance"},
            200,
            {"code": "300003", "msg": "balance"},
            0,
        ),
        (
            {"kind": "error", "code": 400004, "msg": "pass", "status": 401},
            401,
            {"code": "400004", "msg": "pass"},
            0,
        ),
        ({"kind": "null"}, 200, {"code": "200000", "data": None}, 1),
        (
            {"kind": "null_fields", "fields": ["orderId", "else"]},
            200,
            {"code": "200000", "data": {"orderId": None, "clientOid": "x-entry"}},
            1,
        ),
    ],
)
def test_an_answer_is_replaced_once(
    fault: dict[str, Any], status: int, body: Any, processed: int
) -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add(fault)
            assert await rest.place() == (status, body)
            assert rest.processed[f"POST {ORDERS}"] == processed
            assert rest.count() == (1, 0)
            assert (await rest.place())[1]["data"] == {"orderId": "1", "clientOid": "x-entry"}

    run(scenario())


@pytest.mark.parametrize("code", [500, 502, 503, 504, 599])
def test_a_gateway_answers_with_a_page(code: int) -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "status", "status": code})
            status, body = await rest.get("/api/v1/positions")
            assert (status, rest.processed.total()) == (code, 0)
            assert f"<h1>{code} " in body

    run(scenario())


def test_a_page_comes_where_json_is_expected() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "html"})
            status, body = await rest.get("/api/v1/positions")
            assert (status, rest.processed.total(), rest.count()) == (200, 0, (1, 0))
            assert body.startswith("<html>")
            assert (await rest.get("/api/v1/positions"))[1]["data"] == POSITIONS

    run(scenario())


def test_a_third_of_the_fields_is_lost_by_the_seed() -> None:
    async def broken(seed: int) -> Any:
        async with guarded(seed) as rest:
            rest.faults.add({"kind": "null_fields", "times": 2})
            first, second = [(await rest.get("/api/v1/positions"))[1] for _ in range(2)]
            assert first != second
            assert rest.processed.total() == 2
            assert rest.count() == (2, 0)
            assert (await rest.get("/api/v1/positions"))[1]["data"] == POSITIONS
            return first["data"]

    async def scenario() -> None:
        data = await broken(1)
        assert [list(position) for position in data] == [list(position) for position in POSITIONS]
        lost = [[name for name, value in row.items() if value is None] for row in data]
        assert [len(names) for names in lost] == [2] * 5  # of four
        assert len({tuple(names) for names in lost}) > 1
        assert await broken(1) == data
        assert await broken(2) != data

    run(scenario())


def test_rows_lose_a_third_of_their_values_too() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "null_fields"})
            rows = [[60_000 * i, 1.0, 2.0, 0.5, 1.5, 7] for i in range(9)]
            told = (await rest.call("POST", ORDERS, json=rows))[1]["data"]
            assert [row.count(None) for row in told] == [2] * 9  # of six
            assert len({row.index(None) for row in told}) > 1

    run(scenario())


def test_named_fields_are_lost_at_every_depth() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "null_fields", "fields": ["b"], "times": 0})
            sent = {"a": [{"b": 1, "c": 2}, {"b": [3]}], "d": {"b": {}}, "e": {}}
            told = (await rest.call("POST", ORDERS, json=sent))[1]["data"]
            assert told == {"a": [{"b": None, "c": 2}, {"b": None}], "d": {"b": None}, "e": {}}

    run(scenario())


def test_an_altered_answer_keeps_its_headers_and_others_stay_as_they_are() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "null", "times": 0})
            async with rest.session.get(f"{rest.url}/api/v1/positions") as answer:
                assert (answer.headers["gw-ratelimit"], await answer.json()) == (
                    "1",
                    {"code": "200000", "data": None},
                )
            assert await rest.get("/text") == (200, "text")
            assert await rest.get("/none") == (404, "404: Not Found")
            assert rest.count() == (3, None)

    run(scenario())


@pytest.mark.parametrize(("kind", "processed"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_request_gets_no_answer(kind: str, processed: int) -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": kind, "method": "POST"})
            with pytest.raises(DROPPED):
                await rest.place()
            assert rest.processed[f"POST {ORDERS}"] == processed
            assert rest.count() == (1, 0)
            assert (await rest.place())[0] == 200

    run(scenario())


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_drop_closes_the_connection_without_a_byte(kind: str) -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": kind, "path": "/none"})
            _, _, port = rest.url.rpartition(":")
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(b"GET /none HTTP/1.1\r\nHost: local\r\n\r\n")
            assert await asyncio.wait_for(reader.read(), LONG_S) == b""
            writer.close()
            await writer.wait_closed()

    run(scenario())


@pytest.mark.parametrize(("kind", "early"), [("slow_before", False), ("slow_after", True)])
def test_a_slow_answer_waits_before_or_after_processing(kind: str, early: bool) -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": kind, "seconds": 3600, "role": "entry"})
            placing = asyncio.create_task(rest.place())
            if early:
                await asyncio.wait_for(rest.came.wait(), LONG_S)
            while rest.count() != (1, 0):
                await asyncio.sleep(0)
            assert (await rest.place("stop"))[0] == 200  # nobody else waits
            assert rest.processed[f"POST {ORDERS}"] == 1 + early
            assert not placing.done()
            rest.faults.clear()  # ends what it has caused
            assert (await placing)[1]["data"]["clientOid"] == "x-entry"
            assert rest.processed[f"POST {ORDERS}"] == 2

    run(scenario())


@pytest.mark.parametrize("kind", ["slow_before", "slow_after"])
def test_a_slow_answer_comes_by_itself(kind: str) -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": kind, "seconds": 0.001})
            assert (await rest.place())[0] == 200
            assert (rest.count(), rest.processed.total()) == ((1, 0), 1)

    run(scenario())


def test_skew_moves_the_clock_until_it_is_cleared() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "skew", "ms": 6_000})
            rest.faults.add({"kind": "skew", "ms": -1_000, "seconds": 60})
            for _ in range(2):
                assert (await rest.get("/api/v1/timestamp"))[1]["data"] == NOW_MS + 5_000
            assert (rest.count(0), rest.count(1)) == ((2, None), (2, None))
            rest.clock.now += 60
            assert (await rest.get("/api/v1/timestamp"))[1]["data"] == NOW_MS + 6_000
            assert (rest.count(0), rest.count(1)) == ((3, None), (2, 0))
            rest.faults.clear()
            assert rest.faults.skew_ms == 0

    run(scenario())


def test_maintenance_closes_the_status_and_private_calls() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "maintenance", "seconds": 60})
            signed = {"headers": {"KC-API-KEY": "k"}}
            assert (await rest.get("/api/v1/status"))[1]["data"]["status"] == "close"
            status, body = await rest.call("POST", ORDERS, json={}, **signed)
            assert (status, body["code"]) == (200, "300002")
            status, body = await rest.call("DELETE", f"{ORDERS}/7", **signed)
            assert (status, body["code"]) == (200, "300002")
            status, body = await rest.call("GET", ORDERS, **signed)
            assert (status, body["code"]) == (503, "503000")
            assert rest.processed.total() == 0
            assert (await rest.get("/api/v1/timestamp"))[0] == 200  # the market goes on
            assert rest.count() == (4, None)
            rest.clock.now += 60
            assert (await rest.get("/api/v1/status"))[1]["data"]["status"] == "open"
            assert rest.count() == (4, 0)

    run(scenario())


def test_an_outage_cuts_every_connection() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "outage"})
            rest.faults.add({"kind": "html"})
            for path in ("/api/v1/status", ORDERS, "/none"):
                with pytest.raises(DROPPED):
                    await rest.get(path)
            with pytest.raises(DROPPED):
                await rest.session.ws_connect(rest.url)
            # aiohttp sends a GET whose connection was dropped once more.
            assert (rest.count(0), rest.count(1)) == ((8, None), (0, 1))
            assert rest.processed.total() == 0
            rest.faults.clear()
            assert (await rest.get("/api/v1/status"))[0] == 200

    run(scenario())


def test_the_nth_match_fires_so_many_times() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "html", "path": ORDERS, "nth": 2, "times": 2})
            assert rest.count() == (0, 2)
            pages = []
            for _ in range(5):
                await rest.get("/api/v1/positions")  # does not match
                pages.append(isinstance((await rest.place())[1], str))
            assert pages == [False, True, True, False, False]
            assert rest.count() == (2, 0)

    run(scenario())


def test_method_path_and_role_choose_the_request() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "html", "method": "DELETE", "path": f"{ORDERS}/", "times": 0})
            rest.faults.add({"kind": "html", "role": "stop", "times": 0})
            rest.faults.add({"kind": "html", "role": "cancel", "nth": 2, "times": 0})
            assert isinstance((await rest.call("DELETE", f"{ORDERS}/7"))[1], str)
            assert isinstance((await rest.call("DELETE", ORDERS))[1], str)  # the second cancel
            assert isinstance((await rest.place("stop"))[1], str)
            for answer in (
                await rest.place("entry"),
                await rest.get(f"{ORDERS}/7"),
                await rest.call("POST", ORDERS, json={}),
            ):
                assert isinstance(answer[1], dict)
            assert [rest.count(k) for k in range(3)] == [(1, None), (1, None), (1, None)]

    run(scenario())


def test_a_batch_has_the_roles_of_its_orders() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "html", "role": "stop", "times": 0})
            for roles, is_page in ((["entry", "stop"], True), (["entry", "exit"], False)):
                orders = [{"clientOid": f"x-{role}"} for role in roles]
                answer = await rest.call("POST", ORDERS, json=orders)
                assert isinstance(answer[1], str) == is_page
            status, _ = await rest.call("POST", ORDERS, data=b"no json")
            assert status == 500  # the handler's own trouble

    run(scenario())


def test_the_oldest_of_several_comes_first_and_the_others_wait() -> None:
    async def scenario() -> None:
        async with guarded() as rest:
            rest.faults.add({"kind": "status", "status": 502, "nth": 2})
            rest.faults.add({"kind": "status", "status": 503, "times": 2})
            assert [(await rest.place())[0] for _ in range(4)] == [503, 502, 503, 200]

    run(scenario())


def test_clear_removes_all_and_ids_are_not_used_again() -> None:
    faults = Faults()
    assert [faults.add({"kind": "html"}), faults.add({"kind": "null"})] == [1, 2]
    faults.clear()
    assert faults.describe() == []
    assert faults.add({"kind": "error", "code": "1", "msg": "x", "times": 0}) == 3
    assert faults.describe() == [
        {
            "id": 3,
            "kind": "error",
            "nth": 1,
            "times": 0,
            "code": "1",
            "msg": "x",
            "fired": 0,
            "left": None,
        }
    ]


def test_there_are_not_too_many_faults() -> None:
    faults = Faults()
    for _ in range(MOST_FAULTS):
        faults.add({"kind": "html"})
    with pytest.raises(ValueError, match="expected at most 1000, clear them first"):
        faults.add({"kind": "html"})


def test_a_spec_is_copied() -> None:
    faults, spec = Faults(), {"kind": "skew", "ms": 5}
    faults.add(spec)
    spec["ms"] = 7
    assert faults.skew_ms == 5


KNOWN = ", ".join(KINDS)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ([], "fault: expected an object, was list"),
        ({}, f"kind: expected one of {KNOWN}, was None"),
        ({"kind": "boom"}, f"kind: expected one of {KNOWN}, was 'boom'"),
        ({"kind": ["html"]}, f"kind: expected one of {KNOWN}, was ['html']"),
        ({"kind": "html", "x": 1}, "html: expected only method, path, role, nth, times, was 'x'"),
        ({"kind": "html", "topic": "/"}, "html: expected only method, path, role, nth, times, was"),
        ({"kind": "ws_drop", "path": "/"}, "ws_drop: expected only topic, nth, times, was 'path'"),
        ({"kind": "status"}, "status: status is missing, expected 200 or a whole number from"),
        ({"kind": "slow_after"}, "slow_after: seconds is missing, expected a number from 0 to"),
        ({"kind": "error", "code": "1"}, "error: msg is missing, expected text"),
        ({"kind": "skew"}, "skew: ms is missing, expected whole milliseconds up to 1000000000"),
        ({"kind": "status", "status": 302}, "status: status: expected 200 or a whole number from"),
        ({"kind": "status", "status": "500"}, "expected 200 or a whole number from 400 to 599"),
        ({"kind": "status", "status": 500, "body": 5}, "status: body: expected text or JSON, was"),
        ({"kind": "error", "code": "x", "msg": ""}, "error: code: expected up to nine digits"),
        ({"kind": "error", "code": True, "msg": ""}, "error: code: expected up to nine digits"),
        ({"kind": "error", "code": "1", "msg": 5}, "error: msg: expected text, was 5"),
        ({"kind": "html", "method": "post"}, "expected one of GET, POST, PUT, DELETE, was 'post'"),
        ({"kind": "html", "method": []}, "expected one of GET, POST, PUT, DELETE, was []"),
        ({"kind": "html", "path": "api"}, "path: expected the beginning of a path, with its /"),
        ({"kind": "html", "role": "all"}, "role: expected one of entry, exit, stop, target, cance"),
        ({"kind": "html", "nth": 0}, "html: nth: expected a whole number from 1, was 0"),
        ({"kind": "html", "nth": True}, "html: nth: expected a whole number from 1, was True"),
        ({"kind": "html", "times": -1}, "html: times: expected a whole number from 0 (until clear"),
        ({"kind": "html", "times": 1.0}, "html: times: expected a whole number from 0 (until clea"),
        ({"kind": "slow_after", "seconds": -1}, "seconds: expected a number from 0 to 86400, was"),
        ({"kind": "slow_after", "seconds": float("nan")}, "expected a number from 0 to 86400, was"),
        ({"kind": "slow_after", "seconds": 86_401}, "seconds: expected a number from 0 to 86400"),
        ({"kind": "slow_after", "seconds": "5"}, "seconds: expected a number from 0 to 86400, was"),
        ({"kind": "null_fields", "fields": []}, "null_fields: fields: expected a list of names"),
        ({"kind": "null_fields", "fields": [1]}, "null_fields: fields: expected a list of names"),
        ({"kind": "skew", "ms": 0.5}, "skew: ms: expected whole milliseconds up to 1000000000"),
        ({"kind": "outage", "times": 3}, "outage: stands until cleared or for seconds, expected "),
        ({"kind": "outage", "nth": 2}, "outage: stands until cleared or for seconds, expected no"),
        ({"kind": "ws_gap", "topic": "x"}, "topic: expected the beginning of a topic, with its /"),
    ],
)
def test_a_wrong_fault_is_explained(spec: Any, text: str) -> None:
    faults = Faults()
    with pytest.raises(ValueError) as told:  # noqa: PT011
        faults.add(spec)
    assert text in str(told.value)
    assert faults.describe() == []


def numbers(frames: list[Any]) -> list[int]:
    return [frame["sn"] for frame in frames]


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        ({"kind": "ws_drop"}, [1, 3, 4]),
        ({"kind": "ws_drop", "times": 2}, [1, 4]),
        ({"kind": "ws_drop", "topic": TOPIC}, [1, 3, 4]),
        ({"kind": "ws_drop", "topic": f"{TOPIC}:XBT"}, [1, 3, 4]),
        ({"kind": "ws_drop", "topic": f"{TOPIC}:ETH"}, [1, 2, 3, 4]),
        ({"kind": "ws_duplicate"}, [1, 2, 2, 3, 4]),
        ({"kind": "ws_reorder"}, [1, 3, 2, 4]),
        ({"kind": "ws_reorder", "times": 2}, [1, 2, 4, 3]),
        ({"kind": "ws_delay", "seconds": 3600}, [1, 3, 4, 2]),  # until they are cleared
    ],
)
def test_what_happens_to_the_second_push(fault: dict[str, Any], heard: list[int]) -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TOPIC)
            made.faults.add({"nth": 2, **fault})
            for _ in range(4):
                made.order()
            told = made.faults.describe()[0]
            times = fault.get("times", 1)
            hits = "ETH" not in fault.get("topic", "")
            assert (told["fired"], told["left"]) == ((times, 0) if hits else (0, times))
            made.faults.clear()
            assert numbers([await client.hear() for _ in heard]) == heard
            await client.nothing_came()

    run(scenario())


def test_a_push_that_nobody_hears_is_not_counted() -> None:
    async def scenario() -> None:
        async with wire() as made:
            made.faults.add({"kind": "ws_drop"})
            made.order()
            client = await made.client(TOPIC)
            made.order()
            made.order()
            assert numbers([await client.hear()]) == [3]

    run(scenario())


def test_a_fault_hits_all_connections() -> None:
    async def scenario() -> None:
        async with wire() as made:
            clients = [await made.client(TOPIC), await made.client(f"{TOPIC}:XBTUSDTM")]
            made.faults.add({"kind": "ws_duplicate"})
            made.order()
            for client in clients:
                assert numbers([await client.hear(), await client.hear()]) == [1, 1]
                await client.nothing_came()

    run(scenario())


@pytest.mark.parametrize("kind", ["ws_delay", "ws_reorder"])
def test_what_is_held_back_comes_by_itself(kind: str) -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TOPIC)
            made.faults.add({"kind": kind, "seconds": 0.001})
            made.order()
            assert numbers([await client.hear()]) == [1]

    run(scenario())


def test_what_waits_too_long_does_not_hurt_what_waits_next() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TOPIC)
            made.faults.add({"kind": "ws_reorder", "seconds": 3600})
            made.order()
            made.order()
            made.faults.add({"kind": "ws_reorder", "seconds": 3600})
            made.order()
            made.hub.outgoing.later(0.0, made.order)
            assert numbers([await client.hear() for _ in range(4)]) == [2, 1, 4, 3]

    run(scenario())


def test_a_gap_makes_the_numbers_jump_by_the_seed() -> None:
    async def jump() -> list[int]:
        async with wire() as made:
            client = await made.client(TOPIC)
            made.faults.add({"kind": "ws_gap", "nth": 2})
            for _ in range(3):
                made.order()
            return numbers([await client.hear() for _ in range(3)])

    async def scenario() -> None:
        first, second, third = await jump()
        assert (first, third) == (1, second + 1)
        assert second > 2
        assert await jump() == [first, second, third]

    run(scenario())


def test_silence_keeps_the_socket_open_and_loses_everything() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TOPIC)
            made.faults.add({"kind": "ws_silent"})
            made.order()
            await client.say(type="ping", id="lost")
            await client.say(type="subscribe", topic="none", id="lost")
            await client.socket.ping()
            while made.faults.describe()[0]["fired"] < 4:
                await asyncio.sleep(0)
            made.faults.clear()
            await client.nothing_came()
            made.order()
            assert numbers([await client.hear()]) == [2]

    run(scenario())


def test_a_ping_goes_unanswered() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client()
            made.faults.add({"kind": "ws_no_pong", "nth": 2, "times": 2})
            for number in range(1, 5):
                await client.say(type="ping", id=str(number))
            assert [(await client.hear())["id"] for _ in range(2)] == ["1", "4"]
            told = made.faults.describe()[0]
            assert (told["fired"], told["left"]) == (2, 0)

    run(scenario())


def test_sockets_are_closed_at_once_or_at_a_push() -> None:
    async def scenario() -> None:
        async with wire() as made:
            clients = [await made.client(TOPIC), await made.client()]
            made.faults.add({"kind": "ws_close"})
            assert [await client.hear() for client in clients] == [None, None]
            assert made.faults.describe()[0]["fired"] == 1
            clients = [await made.client(TOPIC), await made.client()]
            made.faults.add({"kind": "ws_close", "nth": 2})
            made.order()
            made.order()
            assert numbers([await clients[0].hear()]) == [1]
            assert [await client.hear() for client in clients] == [None, None]
            client = await made.client(TOPIC)
            made.order()
            assert numbers([await client.hear()]) == [3]

    run(scenario())


def test_an_error_frame_comes_at_once_or_at_a_push() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TOPIC)
            made.faults.add({"kind": "ws_error_frame"})
            told = {"id": "me", "type": "error", "code": 500, "data": "internal error"}
            assert await client.hear() == told
            made.faults.add({"kind": "ws_error_frame", "topic": TOPIC, "code": 509, "msg": "many"})
            await client.nothing_came()
            made.order()
            assert await client.hear() == {"id": "me", "type": "error", "code": 509, "data": "many"}
            assert numbers([await client.hear()]) == [1]

    run(scenario())


def test_the_next_connections_hear_that_their_token_is_expired() -> None:
    async def scenario() -> None:
        async with wire() as made:
            made.faults.add({"kind": "ws_expired_token", "times": 2})
            for _ in range(2):
                client = await made.connect(made.bullet(True)["token"])
                told = {"id": "me", "type": "error", "code": 401, "data": "token is expired"}
                assert await client.hear() == told
                assert await client.hear() is None
            assert (await made.client()).socket.closed is False

    run(scenario())


def test_too_many_late_pushes_are_not_kept() -> None:
    async def scenario() -> None:
        async with wire() as made:
            client = await made.client(TOPIC)
            made.faults.add({"kind": "ws_delay", "seconds": 3600, "times": 0})
            for _ in range(1_001):
                made.order()
            assert numbers([await client.hear()]) == [1_001]
            made.faults.clear()
            assert numbers([await client.hear() for _ in range(1_000)]) == list(range(1, 1_001))

    run(scenario())


def test_what_ccxt_makes_of_it() -> None:
    async def scenario() -> None:
        async with guarded() as rest, wire() as made, trader(made.url) as exchange:
            exchange.urls["api"]["futuresPrivate"] = rest.url
            order = ("BTC/USDT:USDT", "market", "buy", 1)
            mine = {"clientOrderId": "x-entry"}
            rest.faults.add({"kind": "drop_after", "role": "entry"})
            with pytest.raises(ccxt.NetworkError):
                await exchange.create_order(*order, None, mine)
            assert rest.processed[f"POST {ORDERS}"] == 1  # it got through all the same
            rest.faults.add({"kind": "error", "code": "300003", "msg": "Balance insufficient"})
            with pytest.raises(ccxt.InsufficientFunds):
                await exchange.create_order(*order, None, mine)
            rest.faults.add({"kind": "status", "status": 504})
            with pytest.raises(ccxt.RequestTimeout):
                await exchange.fetch_positions()
            rest.faults.add({"kind": "html", "times": 1})
            assert await exchange.fetch_positions() == []
            rest.faults.add({"kind": "null", "method": "GET"})
            assert await exchange.fetch_positions() == []

    run(scenario())
