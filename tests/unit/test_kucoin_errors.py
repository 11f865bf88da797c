"""What a failed call means: every code KuCoin has, through ccxt's own error handling, and what
real sockets do to a request."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.adapters.ccxt_slim import kucoin_class
from bot.adapters.kucoin_errors import Treat, Verdict, classify
from bot.adapters.logs import redact
from bot.core.errors import BotError

KEY, SECRET, PHRASE = "0123456789abcdef01234567", "11111111-2222-3333", "phrase-1"
KUCOIN: Any = kucoin_class()
EXCHANGE = KUCOIN({"apiKey": KEY, "secret": SECRET, "password": PHRASE})
URL = f"https://api-futures.kucoin.com/api/v1/orders?clientOid=a-1&key={KEY}"

FATAL, REJECTED, OUTAGE, UNKNOWN = Treat.FATAL, Treat.REJECTED, Treat.OUTAGE, Treat.UNKNOWN
LIMITED, BUSY = Treat.RATE_LIMITED, Treat.BUSY

# code, what it is for an order, what it is for a read or a cancel: every code of section 6 of the
# API reference, and some that nobody knows.
CODES = [
    ("400001", FATAL, FATAL),
    ("400002", Treat.CLOCK, Treat.CLOCK),
    ("400003", FATAL, FATAL),
    ("400004", FATAL, FATAL),
    ("400005", FATAL, FATAL),
    ("400006", FATAL, FATAL),
    ("400007", FATAL, FATAL),
    ("400008", FATAL, FATAL),
    ("400009", FATAL, FATAL),
    ("400100", REJECTED, OUTAGE),
    ("400200", FATAL, FATAL),
    ("400201", FATAL, FATAL),
    ("404000", REJECTED, OUTAGE),
    ("411100", FATAL, FATAL),
    ("415000", REJECTED, OUTAGE),
    ("429000", LIMITED, LIMITED),
    ("200002", LIMITED, LIMITED),
    ("1015", LIMITED, LIMITED),
    ("500000", UNKNOWN, OUTAGE),
    ("503", UNKNOWN, OUTAGE),
    ("503000", UNKNOWN, OUTAGE),
    ("408000", UNKNOWN, OUTAGE),
    ("100001", REJECTED, OUTAGE),
    ("100002", REJECTED, OUTAGE),
    ("100003", REJECTED, OUTAGE),
    ("100004", REJECTED, Treat.NOT_CANCELABLE),
    ("100005", REJECTED, OUTAGE),
    ("200003", REJECTED, OUTAGE),
    ("200005", REJECTED, OUTAGE),
    ("300000", REJECTED, OUTAGE),
    ("300001", REJECTED, OUTAGE),
    ("300002", BUSY, BUSY),
    ("300003", REJECTED, OUTAGE),
    ("300004", REJECTED, OUTAGE),
    ("300005", REJECTED, OUTAGE),
    ("300006", REJECTED, OUTAGE),
    ("300007", REJECTED, OUTAGE),
    ("300008", REJECTED, OUTAGE),
    ("300009", Treat.NOTHING_TO_CLOSE, OUTAGE),
    ("300010", REJECTED, OUTAGE),
    ("300011", REJECTED, OUTAGE),
    ("300012", REJECTED, OUTAGE),
    ("300013", REJECTED, OUTAGE),
    ("300014", REJECTED, OUTAGE),
    ("300015", BUSY, BUSY),
    ("300016", REJECTED, OUTAGE),
    ("300018", Treat.DUPLICATE, OUTAGE),
    ("330005", REJECTED, OUTAGE),
    ("330008", REJECTED, OUTAGE),
    ("330011", REJECTED, OUTAGE),
    ("330012", REJECTED, OUTAGE),
    ("40010", FATAL, FATAL),
    ("116104", FATAL, FATAL),
    ("112010", FATAL, FATAL),
    ("50002", REJECTED, OUTAGE),
    ("999999", REJECTED, OUTAGE),
]


def raised(body: str, status: int = 200, method: str = "POST") -> Exception:
    """Return what ccxt raises for an answer."""
    reply = EXCHANGE.parse_json(body)
    try:
        EXCHANGE.handle_errors(status, "Reason", URL, method, {}, body, reply, {}, None)
        EXCHANGE.handle_http_status_code(status, "Reason", URL, method, body)
    except Exception as error:
        return error
    raise AssertionError("expected ccxt to raise")


def treats(error: BaseException) -> tuple[Treat, Treat]:
    return classify(error, order=True).treat, classify(error, order=False).treat


@pytest.mark.parametrize(("code", "order", "other"), CODES)
def test_every_code_has_its_meaning(code: str, order: Treat, other: Treat) -> None:
    error = raised(json.dumps({"code": code, "msg": "The words of KuCoin."}))
    assert treats(error) == (order, other)
    verdict = classify(error, order=True)
    assert verdict.code == code
    assert verdict.text.endswith(f"KuCoin {code}: The words of KuCoin.")
    assert treats(raised(json.dumps({"code": int(code), "msg": "text"}))) == (order, other)
    # The HTTP status changes nothing where KuCoin itself has spoken.
    assert treats(raised(json.dumps({"code": code, "msg": "text"}), 401)) == (order, other)


@pytest.mark.parametrize(
    ("body", "order", "other"),
    [
        ('{"code":"100001","msg":"error.getOrder.orderNotExist"}', UNKNOWN, Treat.NOT_FOUND),
        ('{"code":"100001","msg":"Leverage parameter invalid."}', REJECTED, OUTAGE),
        ('{"code":"100001"}', REJECTED, OUTAGE),
        ('{"code":"300018","data":"x"}', Treat.DUPLICATE, OUTAGE),
        ('{"code":"987654"}', UNKNOWN, OUTAGE),
        ('{"code":"987654","msg":5}', UNKNOWN, OUTAGE),
        ('{"code":"order_not_exist","msg":"order_not_exist"}', UNKNOWN, OUTAGE),
        ('{"code":true,"msg":"x"}', UNKNOWN, OUTAGE),
        ('{"code":"\u0661\u0662","msg":"x"}', UNKNOWN, OUTAGE),
        ('{"msg":"order not exist"}', UNKNOWN, OUTAGE),
        ("{}", UNKNOWN, OUTAGE),
        ("[]", UNKNOWN, OUTAGE),
        ('[{"code":"300003","msg":"x"}]', UNKNOWN, OUTAGE),
        # A success in which ccxt finds the words of a failure.
        ('{"code":"200000","msg":"Position does not exist"}', UNKNOWN, OUTAGE),
        ('{"code":"200000","data":"Exceeded the access frequency"}', UNKNOWN, OUTAGE),
    ],
)
def test_the_message_counts_where_the_code_says_too_little(
    body: str, order: Treat, other: Treat
) -> None:
    assert treats(raised(body)) == (order, other)


@pytest.mark.parametrize(
    ("status", "body", "order", "other"),
    [
        (429, "<html>error code: 1015</html>", LIMITED, LIMITED),
        (400, "<html>Bad Request</html>", UNKNOWN, OUTAGE),
        (401, "<html>Unauthorized</html>", UNKNOWN, OUTAGE),
        (403, "<html>blocked</html>", UNKNOWN, OUTAGE),
        (404, "", UNKNOWN, OUTAGE),
        (500, "<html>{</html>", UNKNOWN, OUTAGE),
        (502, "<html>Bad Gateway</html>", UNKNOWN, OUTAGE),
        (503, "", UNKNOWN, OUTAGE),
        (504, "<html>429 </html>", UNKNOWN, OUTAGE),
        (520, '{"code":"200000","data":{"orderId":"1"}}', UNKNOWN, OUTAGE),
        (502, '{"code":"300003","msg":"x"', UNKNOWN, OUTAGE),
    ],
)
def test_without_a_code_the_http_status_decides(
    status: int, body: str, order: Treat, other: Treat
) -> None:
    error = raised(body, status)
    assert treats(error) == (order, other)
    verdict = classify(error, order=True)
    assert f"HTTP {status}" in verdict.text
    assert verdict.code == ""


def test_waits_are_given_where_they_are_known() -> None:
    def wait(body: str, status: int = 200) -> float | None:
        return classify(raised(body, status), order=True).wait_s

    assert wait('{"code":"429000","msg":"Too many requests."}', 429) is None
    assert wait('{"code":"200002","msg":"blocked"}') == 10.0
    assert wait('{"code":"1015","msg":"blocked"}') == 30.0
    assert wait("<html>error code: 1015</html>", 429) == 30.0


@pytest.mark.parametrize("code", [code for code, *_ in CODES])
def test_logs_repeat_every_meaning_in_full(code: str) -> None:
    """Whatever looks like a secret is taken out of a log: the word after `key:`, say."""
    text = classify(raised(json.dumps({"code": code, "msg": "why"})), order=False).text
    assert redact(text) == text


def test_what_only_a_person_can_change_is_explained() -> None:
    error = raised('{"code":"400006","msg":"ip 203.0.113.7 is not in the api whitelist"}')
    text = classify(error, order=False).text
    assert "bound to another address" in text
    assert "set exchange.ipv4 to true" in text
    assert "203.0.113.7" in text
    assert "isolated" in classify(raised('{"code":"330005","msg":"x"}'), order=True).text


def test_missing_credentials_are_named() -> None:
    with pytest.raises(Exception, match="credential") as caught:
        KUCOIN({"apiKey": KEY, "secret": SECRET}).check_required_credentials()
    assert classify(caught.value, order=True) == Verdict(
        FATAL, "", "no credentials: password is missing"
    )


def test_a_reply_that_makes_no_sense_is_no_answer() -> None:
    error = BotError("order: filledSize: expected a number, was None")
    assert treats(error) == (UNKNOWN, OUTAGE)
    assert classify(error, order=True).text == str(error)


def test_no_secret_and_no_address_of_a_request_is_repeated() -> None:
    signature = EXCHANGE.sign("orders", ["futuresPrivate"], "GET", {"a": "1"})["headers"]
    told = f"no such key {KEY} at {URL} sign {signature['KC-API-SIGN']} {SECRET}-44444444 end"
    for error in (
        raised(json.dumps({"code": "400003", "msg": told})),
        raised(f"<html>{told}</html>", 502),
        BotError(told),
    ):
        text = classify(error, order=True).text
        for secret in (KEY, SECRET, "kucoin.com", *signature.values()):
            assert secret == "2" or secret not in text  # "2" is the key's version
    assert classify(raised(json.dumps({"code": "1", "msg": "m" * 5_000})), order=True).text
    assert (
        len(classify(raised(json.dumps({"code": "1", "msg": "m " * 5_000})), order=True).text) < 250
    )


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer(writer: asyncio.StreamWriter, status: str, body: str, length: int = -1) -> None:
    size = len(body) if length < 0 else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    writer.write((head + body).encode())
    await writer.drain()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    linger = struct.pack("ii", 1, 0)  # close with a reset
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await answer(writer, "200 OK", '{"code":"200000","data":', length=100)


async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example.org ESMTP\r\n")
    await writer.drain()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await answer(writer, "200 OK", '{"code":"300018","msg":"clientOid repeated"}')


async def too_many(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await answer(writer, "429 Too Many Requests", "<html>error code: 1015</html>")


async def failure(base: str) -> Exception:
    """Return what an order to `base` raises, through a real ccxt instance."""
    exchange = KUCOIN(
        {
            "apiKey": KEY,
            "secret": SECRET,
            "password": PHRASE,
            "timeout": 300,
            "options": {"uta": False, "hf": False},
        }
    )
    exchange.urls["api"] = {"futuresPrivate": base}
    try:
        await exchange.futuresPrivatePostOrders({"clientOid": "a-1", "symbol": "XBTUSDTM"})
    except Exception as error:
        return error
    finally:
        await exchange.close()
    raise AssertionError("expected a failure")


async def failure_at(handler: Handler, scheme: str = "http") -> Exception:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await failure(f"{scheme}://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (hang_up, UNKNOWN),
        (reset, UNKNOWN),
        (say_nothing, UNKNOWN),
        (break_off, UNKNOWN),
        (no_http, UNKNOWN),
        (refuse, Treat.DUPLICATE),
        (too_many, LIMITED),
    ],
)
def test_a_request_that_went_out(handler: Handler, expected: Treat) -> None:
    error = asyncio.run(failure_at(handler))
    verdict = classify(error, order=True)
    assert verdict.treat is expected
    assert "127.0.0.1" not in verdict.text


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_refused_connection_sent_nothing() -> None:
    error = asyncio.run(failure(f"http://127.0.0.1:{closed_port()}"))
    assert treats(error) == (Treat.NOT_SENT, Treat.NOT_SENT)


def test_no_secure_connection_sent_nothing() -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await answer(writer, "400 Bad Request", "plain HTTP only")

    error = asyncio.run(failure_at(no_tls, scheme="https"))
    assert treats(error) == (Treat.NOT_SENT, Treat.NOT_SENT)


def test_a_name_that_is_not_found_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    error = asyncio.run(failure("http://api-futures.kucoin.test"))
    assert treats(error) == (Treat.NOT_SENT, Treat.NOT_SENT)


def test_the_failure_of_an_earlier_request_does_not_count() -> None:
    refused = asyncio.run(failure(f"http://127.0.0.1:{closed_port()}"))
    for lost in (asyncio.run(failure_at(say_nothing)), raised("<html></html>", 502)):
        lost.__context__ = refused  # the second try was made while the first failure was handled
        assert classify(lost, order=True).treat is UNKNOWN


def test_a_connection_that_we_closed_sends_nothing() -> None:
    async def closed() -> Exception:
        exchange = KUCOIN({"apiKey": KEY, "secret": SECRET, "password": PHRASE})
        await exchange.close()
        try:
            await exchange.futuresPrivatePostOrders({})
        except Exception as error:
            return error
        raise AssertionError("expected a failure")

    assert treats(asyncio.run(closed())) == (Treat.NOT_SENT, Treat.NOT_SENT)


KINDS = [ValueError, TimeoutError, asyncio.CancelledError, *map(type, [raised("[]")])]
TEXTS = st.one_of(
    st.text(),
    st.builds("kucoinfutures {}".format, st.text()),
    st.builds(
        "kucoinfutures {}".format,
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["code", "msg"]), inner)
            ),
        ).map(json.dumps),
    ),
)
FOR_ORDERS = set(Treat) - {Treat.NOT_FOUND, Treat.NOT_CANCELABLE, Treat.OUTAGE}
FOR_OTHERS = set(Treat) - {REJECTED, UNKNOWN, Treat.DUPLICATE, Treat.NOTHING_TO_CLOSE}


@given(kind=st.sampled_from(KINDS), text=TEXTS)
@example(kind=ValueError, text="kucoinfutures " + "[" * 100_000)
@example(kind=ValueError, text='kucoinfutures {"code": 1' + "0" * 10_000 + "}")
def test_any_exception_has_a_meaning(kind: type[BaseException], text: str) -> None:
    for order, allowed in ((True, FOR_ORDERS), (False, FOR_OTHERS)):
        verdict = classify(kind(text), order=order)
        assert verdict.treat in allowed
        assert verdict.text.isprintable()
        if not verdict.code:
            assert verdict.treat in (UNKNOWN, OUTAGE)
