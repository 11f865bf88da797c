"""Signatures and rate limits of the wire simulator."""

import re

import pytest

from ops.exchange.auth import Credentials, check, digest
from ops.exchange.limits import Limits, Pool
from ops.exchange.refusal import RefusedError
from tests.support.wire_desk import KEY

NOW, HOST = 1_735_689_600_000, 1_790_000_000_000
"""of the market, and of the host it is played on"""
TARGET = "/api/v1/orders?status=active&symbol=XBTUSDTM"


def headers(
    *, credentials: Credentials = KEY, stamp: int | str = NOW, target: str = TARGET, body: str = ""
) -> dict[str, str]:
    """Return the headers that ccxt sends."""
    signed = f"{stamp}GET{target}{body}".encode()
    return {
        "KC-API-KEY": credentials.key,
        "KC-API-SIGN": digest(credentials.secret, signed),
        "KC-API-TIMESTAMP": str(stamp),
        "KC-API-PASSPHRASE": digest(credentials.secret, credentials.passphrase.encode()),
        "KC-API-KEY-VERSION": "2",
    }


def refusal(sent: dict[str, str], target: str = TARGET, body: bytes = b"") -> str:
    """Return code and HTTP status with which a request is refused; empty when it is not."""
    try:
        check(KEY, sent, "GET", target, body, (NOW, HOST))
    except RefusedError as error:
        return f"{error.code} {error.status}"
    return ""


def test_the_owner_is_let_in() -> None:
    assert refusal(headers()) == ""
    assert refusal(headers() | {"KC-API-KEY-VERSION": "3"}) == ""
    assert refusal(headers(body='{"a":1}'), body=b'{"a":1}') == ""


@pytest.mark.parametrize(
    "name", ["KC-API-KEY", "KC-API-SIGN", "KC-API-TIMESTAMP", "KC-API-PASSPHRASE"]
)
def test_every_header_has_to_be_there(name: str) -> None:
    assert refusal({k: v for k, v in headers().items() if k != name}) == "400001 401"
    assert refusal(headers() | {name: ""}) == "400001 401"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (headers(credentials=Credentials("other", KEY.secret, KEY.passphrase)), "400003 401"),
        (headers(stamp=NOW - 5_001), "400002 400"),
        (headers(stamp=NOW + 5_001), "400002 400"),
        (headers(stamp="soon"), "400002 400"),
        (headers(stamp="\uff11"), "400002 400"),
        (headers(credentials=Credentials(KEY.key, KEY.secret, "wrong")), "400004 401"),
        (headers() | {"KC-API-SIGN": "wrong"}, "400005 401"),
        (headers(target="/api/v1/orders"), "400005 401"),
        (headers(body="{}"), "400005 401"),
        (headers() | {"KC-API-KEY-VERSION": "1"}, "400009 401"),
    ],
)
def test_each_mistake_has_its_code(sent: dict[str, str], code: str) -> None:
    assert refusal(sent) == code


def test_mistakes_are_told_in_the_exchanges_order() -> None:
    stranger = Credentials("other", "other", "other")
    assert refusal(headers(credentials=stranger, stamp=0)) == "400003 401"
    late = headers(credentials=Credentials(KEY.key, "other", "other"), stamp=0)
    assert refusal(late) == "400002 400"


@pytest.mark.parametrize("now", [NOW, HOST])
def test_five_seconds_are_tolerated_from_either_clock(now: int) -> None:
    assert refusal(headers(stamp=now - 5_000)) == refusal(headers(stamp=now + 5_000)) == ""
    assert refusal(headers(stamp=now - 5_001)) == refusal(headers(stamp=now + 5_001)) != ""


def test_secrets_are_not_shown() -> None:
    assert not re.search("secret|passphrase|key", repr(KEY))


def test_a_pool_is_filled_anew_30_s_after_its_first_call() -> None:
    limits = Limits()
    limits.charge(Pool.FUTURES, 800, NOW)
    limits.charge(Pool.FUTURES, 800, NOW + 29_999)
    assert limits.headers(Pool.FUTURES, NOW + 29_999) == {
        "gw-ratelimit-limit": "2000",
        "gw-ratelimit-remaining": "400",
        "gw-ratelimit-reset": "1",
    }
    with pytest.raises(RefusedError, match="429000") as full:
        limits.charge(Pool.FUTURES, 401, NOW + 29_999)
    assert full.value.status == 429
    with pytest.raises(RefusedError):  # it stays so until the window is over
        limits.charge(Pool.FUTURES, 1, NOW + 29_999)
    limits.charge(Pool.FUTURES, 2_000, NOW + 30_000)


def test_pools_are_apart() -> None:
    limits = Limits()
    limits.charge(Pool.FUTURES, 2_000, NOW)
    limits.charge(Pool.PUBLIC, 2_000, NOW)
    assert limits.headers(Pool.SPOT, NOW)["gw-ratelimit-remaining"] == "4000"


def test_a_clock_that_was_set_back_opens_a_new_window() -> None:
    limits = Limits()
    limits.charge(Pool.PUBLIC, 2_000, NOW)
    limits.charge(Pool.PUBLIC, 2_000, NOW - 1_000_000)
