"""What a failed call becomes for those who asked: refused, not sent, no answer, unreachable.

Real ccxt on a real simulator over real sockets, with its fault switches.
"""

import socket
from collections.abc import Iterator
from random import Random
from typing import Any

import aiohttp
import pytest

from bot.adapters import kucoin_client, token_bucket
from bot.adapters.kucoin_client import CredentialsError, KucoinClient, RefusedError
from bot.adapters.kucoin_errors import Treat
from bot.adapters.kucoin_orders import order_body
from bot.adapters.kucoin_site import Credentials, Site
from bot.adapters.logs import redact
from bot.adapters.token_bucket import Priority, TokenBucket
from bot.adapters.wire_thread import WireThread
from bot.core.errors import NoAnswerError, UnreachableError
from bot.core.messages import PlaceOrder, Role
from ops.exchange.hand_clock import HandClock
from ops.exchange.server import WireExchange
from tests.support.wire_client import Control
from tests.support.wire_desk import COIN, KEY, SYMBOL, options, source

TIMEOUT_S = 0.4
OVERVIEW = "futuresPrivateGetAccountOverview"


class Line:
    """A client, the simulator behind it, and what goes wrong between them."""

    def __init__(self, addresses: dict[str, Any], keys: Credentials) -> None:
        self.control = Control(addresses["control"])
        self.clock = HandClock(int(addresses["now_ms"]))
        self.wire = WireThread()
        site = Site(addresses["futures"], addresses["spot"], TIMEOUT_S)
        self.bucket = TokenBucket()
        self.client = KucoinClient(site, keys, self.clock, self.bucket, Random(1))
        self.wire.run(self.client.open(), 5.0)
        self.number = 0

    def fault(self, **spec: Any) -> None:
        self.control("POST", "/control/faults", faults=[spec])

    def read(self, call: str = OVERVIEW) -> Any:
        return self.wire.run(self.client.read(call, {"currency": "USDT"}, weight=5), 10.0)

    def order(self, priority: Priority = Priority.ENTRY) -> Any:
        """Send an order that the exchange would take."""
        self.number += 1
        name = f"c-{id(self)}-{self.number}"
        body = order_body(PlaceOrder(name, 0, Role.ENTRY, 1, 1.0, 100.0, 5.0), SYMBOL, COIN)
        sent = self.client.send("futuresPrivatePostOrders", body, weight=2, priority=priority)
        return self.wire.run(sent, 10.0)

    def posts(self) -> int:
        return int(self.control.truth()["requests"].get("POST /api/v1/orders", 0))

    def close(self) -> None:
        self.control("DELETE", "/control/faults")
        self.wire.close(self.client.close)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, Any]]:
    with WireExchange(options(source([100.0] * 50))) as at:
        yield at


@pytest.fixture
def line(addresses: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    monkeypatch.setattr(token_bucket, "TRY_S", 0.01)
    made = Line(addresses, Credentials(KEY.key, KEY.secret, KEY.passphrase))
    yield made
    made.close()


def test_what_ccxt_would_do_by_itself_is_switched_off(line: Line) -> None:
    """It paces what our budget has let go, calls other hosts, and signs for a broker of its own."""
    ccxt = line.client.ccxt
    assert ccxt.enableRateLimit is False
    assert (ccxt.options["uta"], ccxt.options["hf"]) == (False, False)
    for host, api in (("futures", "futuresPrivate"), ("spot", "private")):
        names = ccxt.sign("positions", [api, "private"], "GET")["headers"]
        assert "KC-API-SIGN" in names, host
        assert [name for name in names if "PARTNER" in name.upper()] == [], host


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 502},
        {"kind": "html"},
        {"kind": "null"},
        {"kind": "drop_before"},
        {"kind": "slow_before", "seconds": 2.0},
        {"kind": "error", "code": "429000", "msg": "too many", "status": 429},
        {"kind": "error", "code": "500000", "msg": "busy"},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_read_is_tried_again(line: Line, fault: dict[str, Any]) -> None:
    line.fault(**fault, times=1)
    assert line.read()["currency"] == "USDT"
    assert len(line.client.errors) <= 1
    assert line.bucket.level > 0.0


def test_a_read_that_fails_again_and_again_is_unreachable(line: Line) -> None:
    line.fault(kind="status", status=503, times=0)
    with pytest.raises(UnreachableError, match="HTTP 503"):
        line.read()
    assert line.client.errors == ["unreachable"] * kucoin_client.READ_TRIES


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "slow_after", "seconds": 2.0},
        {"kind": "drop_after"},
        {"kind": "status", "status": 502},
        {"kind": "html"},
        {"kind": "null"},
    ],
    ids=lambda fault: fault["kind"],
)
def test_an_order_that_may_have_arrived_is_not_sent_again(
    line: Line, fault: dict[str, Any]
) -> None:
    line.fault(**fault, times=0)
    before = line.posts()
    with pytest.raises(NoAnswerError):
        line.order()
    assert line.posts() - before <= 1


def test_an_order_that_is_refused_is_refused(line: Line) -> None:
    line.fault(kind="error", code="300003", msg="Balance insufficient")
    with pytest.raises(RefusedError, match="Balance insufficient") as refused:
        line.order()
    assert refused.value.verdict.treat is Treat.REJECTED
    assert line.client.errors == []  # counted with the order's event


@pytest.mark.parametrize("code", ["300002", "300015"])
def test_an_order_in_a_contract_that_stands_still_was_not_sent(line: Line, code: str) -> None:
    line.fault(kind="error", code=code, msg="suspended")
    with pytest.raises(UnreachableError, match="suspended"):
        line.order()
    assert line.client.errors == ["unreachable"]


def test_a_page_where_json_is_expected_is_counted_as_that(line: Line) -> None:
    line.fault(kind="html", times=0)
    with pytest.raises(UnreachableError):
        line.read()
    with pytest.raises(NoAnswerError):
        line.order()
    assert set(line.client.errors) == {"malformed"}


def test_an_order_that_the_limit_kept_out_was_not_sent(line: Line) -> None:
    blocked: list[float] = []
    line.bucket.block = blocked.append  # type: ignore[method-assign]
    line.fault(kind="error", code="429000", msg="too many", status=429)
    with pytest.raises(UnreachableError):
        line.order()
    assert blocked == [kucoin_client.BLOCKED_S]
    assert line.client.errors == ["rate_limited"]


def test_what_reduces_risk_tries_through_a_pause_and_its_answer_ends_it(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kucoin_client, "BUDGET_WAIT_S", 0.02)
    line.bucket.block(60.0)
    before = line.posts()
    with pytest.raises(UnreachableError, match="budget is used up"):
        line.order()
    assert line.posts() == before
    line.fault(kind="status", status=429)
    with pytest.raises(UnreachableError, match="429000"):
        line.order(Priority.REDUCE)
    assert line.bucket.level == 0.0
    assert line.order(Priority.REDUCE)["orderId"]
    assert line.bucket.level > 0.0
    assert line.order()["orderId"]


def test_what_an_answer_says_of_the_budget_is_of_the_account_or_of_the_address(line: Line) -> None:
    told: list[tuple[int, bool]] = []
    line.bucket.told = (  # type: ignore[method-assign]
        lambda limit, _remaining, _reset_ms, *, public=False: told.append((limit, public))
    )
    line.wire.run(line.client.sync_clock(), 10.0)
    line.read()
    assert told == [(2_000, True), (2_000, False)]
    line.read("futuresPrivateGetTransactionHistory")
    assert len(told) == 2  # another pool's count


def test_names_of_headers_have_any_case(line: Line) -> None:
    told = ("Gw-RateLimit-Limit", "2000"), ("GW-RATELIMIT-REMAINING", "500")
    headers = dict((*told, ("gw-ratelimit-reset", "30000")))
    url = f"{line.client.site.futures_url}/api/v1/positions"
    asked = {"KC-API-KEY": "k"}
    line.client.ccxt.on_rest_response(200, "OK", url, "GET", headers, "{}", asked, None)
    assert line.bucket.level == 0.25


def test_a_clock_that_is_off_is_set_and_the_order_goes_out_once(line: Line) -> None:
    line.clock.now_ms += 60_000
    before = line.posts()
    assert line.order()["orderId"]
    assert line.clock.now() == line.control.truth()["now_ms"]
    assert line.posts() - before == 2  # the first one was refused before it was looked at
    assert line.client.errors == ["clock"]


TOKEN = "/api/v1/bullet-private"


def test_a_token_that_the_limit_kept_out_pauses_everything(line: Line) -> None:
    blocked: list[float] = []
    line.bucket.block = blocked.append  # type: ignore[method-assign]
    line.fault(kind="error", code="429000", msg="too many", status=429, path=TOKEN)
    with pytest.raises(UnreachableError, match="no token came: KuCoin 429000"):
        line.wire.run(line.client.socket_url(), 10.0)
    assert blocked == [kucoin_client.BLOCKED_S]
    assert line.client.errors == ["rate_limited"]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "html"}, {"kind": "null"}, {"kind": "drop_after"}],
    ids=lambda fault: fault["kind"],
)
def test_a_token_that_does_not_come_is_no_error(line: Line, fault: dict[str, Any]) -> None:
    line.fault(**fault, path=TOKEN)
    with pytest.raises(UnreachableError, match="no token came") as failed:
        line.wire.run(line.client.socket_url(), 10.0)
    assert redact(str(failed.value)) == str(failed.value)
    assert line.client.errors == []
    assert line.bucket.level > 0.0
    first, second = (line.wire.run(line.client.socket_url(), 10.0) for _ in range(2))
    assert first != second  # each time a new one


@pytest.mark.parametrize("ipv4", [True, False])
def test_a_key_of_an_ipv4_address_never_goes_out_over_ipv6(line: Line, ipv4: bool) -> None:
    site = Site(line.client.site.futures_url, line.client.site.spot_url, ipv4=ipv4)
    client = KucoinClient(site, None, line.clock, line.bucket)
    line.wire.run(client.open(), 5.0)
    assert client.session is not None
    connector = client.session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    assert connector.family == (socket.AF_INET if ipv4 else socket.AF_UNSPEC)
    line.wire.run(client.close(), 5.0)


def test_ccxt_never_asks_by_itself_what_kind_of_account_it_is(line: Line) -> None:
    """Its answer would turn every call into that of another product; a start asks (live_checks)."""
    before = line.control.truth()["requests"]
    assert line.wire.run(line.client.ccxt.is_uta_enabled(), 5.0) is False
    assert line.control.truth()["requests"] == before


def test_nobody_listens(line: Line) -> None:
    site = Site("http://127.0.0.1:9", "http://127.0.0.1:9", TIMEOUT_S)
    keys = Credentials(KEY.key, KEY.secret, KEY.passphrase)
    client = KucoinClient(site, keys, line.clock, TokenBucket(), Random(1))
    line.wire.run(client.open(), 5.0)
    body = order_body(PlaceOrder("c-x", 0, Role.ENTRY, 1, 1.0, 100.0, 5.0), SYMBOL, COIN)
    sent = client.send("futuresPrivatePostOrders", body, weight=2, priority=Priority.ENTRY)
    with pytest.raises(UnreachableError, match="no connection"):
        line.wire.run(sent, 10.0)
    line.wire.run(client.close(), 5.0)


@pytest.mark.parametrize("part", ["key", "secret", "passphrase"])
def test_a_wrong_key_is_said_and_never_shown(addresses: dict[str, Any], part: str) -> None:
    values = {"key": KEY.key, "secret": KEY.secret, "passphrase": KEY.passphrase}
    wrong = Line(addresses, Credentials(**(values | {part: "wrong-value-123456"})))
    try:
        with pytest.raises(CredentialsError, match=r"KuCoin 40000[345]") as refused:
            wrong.read()
    finally:
        wrong.close()
    assert refused.value.exit_code == 77
    shown = f"{refused.value!r} {refused.value.__cause__ is not None} {wrong.client.errors}"
    assert "wrong-value-123456" not in shown
    assert KEY.secret not in shown
