"""An answer that sends us elsewhere: nobody but the exchange sees a signed request.

Real ccxt over real sockets, on a server that redirects to another.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest

from bot.adapters import kucoin_client
from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_fields import MalformedReplyError
from bot.adapters.kucoin_orders import order_body
from bot.adapters.kucoin_site import Credentials, Site
from bot.adapters.token_bucket import Priority, TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.errors import NoAnswerError, UnreachableError
from bot.core.messages import PlaceOrder, Role
from ops.exchange.hand_clock import HandClock
from tests.support.wire_desk import COIN, KEY, START, SYMBOL

OVERVIEW = "futuresPrivateGetAccountOverview"
BODY = b'{"code":"200000","data":{"orderId":"1","clientOid":"c-1"}}'
WAIT_S = 10.0


class Server(ThreadingHTTPServer):
    """Answers everything with one status, and keeps the headers it was sent."""

    daemon_threads = True

    def __init__(self, status: int, location: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.location = status, location
        self.asked: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(BODY)))
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()
        self.wfile.write(BODY)

    do_POST = do_DELETE = do_GET  # noqa: N815  (names of the base class)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Line:
    """A client of a server that redirects, and the server it redirects to."""

    def __init__(self, elsewhere: Server, exchange: Server) -> None:
        self.elsewhere, self.exchange = elsewhere, exchange
        self.wire = WireThread()
        site = Site(exchange.url, exchange.url, 2.0)
        keys = Credentials(KEY.key, KEY.secret, KEY.passphrase)
        self.client = KucoinClient(site, keys, HandClock(START), TokenBucket(), Random(1))
        self.wire.run(self.client.open(), WAIT_S)

    def close(self) -> None:
        self.wire.close(self.client.close)


@pytest.fixture(params=[301, 302, 303, 307, 308])
def line(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    with (
        serving(Server(200)) as elsewhere,
        serving(Server(request.param, f"{elsewhere.url}/api/v1/orders")) as exchange,
        closing(Line(elsewhere, exchange)) as made,
    ):
        yield made


def test_a_read_that_is_sent_elsewhere_has_failed(line: Line) -> None:
    with pytest.raises(UnreachableError, match=f"HTTP {line.exchange.status}: .* not followed"):
        line.wire.run(line.client.read(OVERVIEW, {}, weight=5), WAIT_S)
    assert "KC-API-SIGN" in line.exchange.asked[0]
    assert len(line.exchange.asked) == kucoin_client.READ_TRIES
    assert line.elsewhere.asked == []
    assert line.client.errors == ["malformed"] * kucoin_client.READ_TRIES


def test_an_order_that_is_sent_elsewhere_may_have_arrived(line: Line) -> None:
    body = order_body(PlaceOrder("c-1", 0, Role.ENTRY, 1, 1.0, 100.0, 5.0), SYMBOL, COIN)
    sent = line.client.send("futuresPrivatePostOrders", body, weight=2, priority=Priority.ENTRY)
    with pytest.raises(NoAnswerError, match=f"HTTP {line.exchange.status}"):
        line.wire.run(sent, WAIT_S)
    assert (len(line.exchange.asked), line.elsewhere.asked) == (1, [])


def test_a_socket_that_is_sent_elsewhere_does_not_open(line: Line) -> None:
    async def connect() -> None:
        assert line.client.session is not None  # the one that ccxt opens its sockets with
        await line.client.session.ws_connect(f"ws{line.exchange.url[4:]}/?token=secret")

    with pytest.raises(MalformedReplyError, match="not followed"):
        line.wire.run(connect(), WAIT_S)
    assert line.elsewhere.asked == []
