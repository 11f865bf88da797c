"""The wire simulator over plain HTTP, and as a process of its own."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from bot.core.market import Row
from ops.cli import main
from ops.exchange import foreground
from ops.exchange.auth import digest
from ops.exchange.server import MOST_BODY, WireExchange
from tests.support.market_files import HOUR, candle_lines, write_candles
from tests.support.wire_client import Client, Control, connected
from tests.support.wire_desk import KEY, options, source

ROOT = Path(__file__).parents[2]
PORTS = ["--futures-port", "0", "--spot-port", "0", "--control-port", "0"]
SECRETS = ["--key", "key-1", "--secret", "secret-1", "--passphrase", "passphrase-1"]


def get(
    url: str,
    method: str = "GET",
    data: bytes | None = None,
    sent: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, Any, Any]:
    """Return status, JSON and headers of a reply."""
    request = urllib.request.Request(url, data, dict(sent), method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


def test_replies_that_are_none_of_a_route() -> None:
    with WireExchange(options(source([100.0] * 9))) as addresses:
        futures, spot, control = (addresses[name] for name in ("futures", "spot", "control"))
        status, body, headers = get(f"{futures}/api/v1/nowhere")
        assert (status, body) == (404, {"code": "404000", "msg": "Url Not Found"})
        assert headers["gw-ratelimit-limit"] == "2000"
        assert get(f"{futures}/api/v1/contracts/active", "PUT", b"{}")[0] == 404
        assert get(f"{futures}/api/v1/contracts/NOUSDTM")[1]["code"] == "100003"
        status, body, headers = get(f"{futures}/api/v1/positions")
        assert (status, body["code"]) == (401, "400001")
        assert headers["gw-ratelimit-remaining"] == "1998"
        status, body, _ = get(f"{spot}/api/v3/currencies")
        assert [coin["currency"] for coin in body["data"]] == ["BTC", "USDT"]
        assert get(f"{spot}/api/v1/user/api-key")[1]["code"] == "400001"
        assert get(f"{control}/control/advance", "POST", b"{}")[0] == 400
        for nonsense in (b"no", b"[" * 100_000):
            assert get(f"{control}/control/advance", "POST", nonsense)[1]["error"]
        told = get(f"{control}/control/truth")[1]["requests"]
        assert told["GET /api/v1/contracts/{symbol}"] == 1
        assert told["GET /api/v1/positions"] == 1


SQUARE = "%C2%B2"  # a digit to Python, but no number
ORDER = b'"clientOid": "a", "symbol": "XBTUSDTM", "side": "buy", "type": "limit", "leverage": 1'
LONG = b"1" * 400


@pytest.mark.parametrize(
    ("method", "target", "body", "sent", "code"),
    [
        ("GET", f"/api/v1/kline/query?symbol=XBTUSDTM&granularity={SQUARE}", b"", {}, "100001"),
        ("GET", f"/api/v1/fills?startAt={SQUARE}", b"", {}, "100001"),
        ("GET", "/api/v2/getMaxOpenSize?symbol=XBTUSDTM&price=abc", b"", {}, "100001"),
        ("GET", "/api/v2/getMaxOpenSize?symbol=XBTUSDTM&leverage=abc", b"", {}, "100001"),
        ("POST", "/api/v1/orders", b"[" * 100_000, {}, "400100"),
        ("POST", "/api/v1/orders", b'{%b, "size": 1, "price": %b}' % (ORDER, LONG), {}, "100001"),
        ("POST", "/api/v1/orders", b"{}", {"Content-Type": "text/plain"}, "415000"),
        ("POST", "/api/v1/orders", b"{}", {"Content-Encoding": "gzip"}, "400100"),
        ("POST", "/api/v1/orders", b" " * (MOST_BODY + 1), {}, "400100"),
        ("DELETE", "/api/v1/orders/multi-cancel", b'{"orderIdsList": 5}', {}, "100001"),
        ("DELETE", "/api/v1/orders/multi-cancel", b'{"clientOidsList": 5}', {}, "100001"),
        ("GET", "/api/v1/positions", b"", {"KC-API-TIMESTAMP": "9" * 5_000}, "400002"),
        ("GET", "/api/v1/positions", b"", {"KC-API-KEY": "\xe4"}, "400003"),
        ("GET", "/api/v1/positions", b"", {"KC-API-SIGN": "\xe4"}, "400005"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_code(
    method: str, target: str, body: bytes, sent: dict[str, str], code: str
) -> None:
    with WireExchange(options(source([100.0] * 9))) as addresses:
        stamp = str(addresses["now_ms"])
        signed = {
            "KC-API-KEY": KEY.key,
            "KC-API-SIGN": digest(KEY.secret, f"{stamp}{method}{target}".encode() + body),
            "KC-API-TIMESTAMP": stamp,
            "KC-API-PASSPHRASE": digest(KEY.secret, KEY.passphrase.encode()),
            "KC-API-KEY-VERSION": "2",
            "Content-Type": "application/json",
        }
        url = f"{addresses['futures']}{target}"
        assert get(url, method, body or None, signed | sent)[1]["code"] == code


def test_faults_reach_the_client_and_the_order_is_true() -> None:
    async def story(client: Client) -> None:
        ccxt, control = client.ccxt, client.control
        control(
            "POST",
            "/control/faults",
            faults=[
                {"kind": "drop_after", "method": "POST", "role": "entry"},
                {"kind": "null", "path": "/api/v1/positions"},
            ],
        )
        order = {"leverage": 2, "clientOrderId": "lost-1"}
        with pytest.raises(Exception, match="kucoinfutures"):
            await ccxt.create_order("BTC/USDT:USDT", "market", "buy", 1, None, order)
        client.advance(5)
        found = await ccxt.fetch_order(None, "BTC/USDT:USDT", {"clientOrderId": "lost-1"})
        assert found["filled"] == 1.0
        assert await ccxt.fetch_positions() == []  # null reads as none
        assert len(await ccxt.fetch_positions()) == 1
        assert ccxt.last_response_headers["gw-ratelimit-limit"] == "2000"
        assert [fault["fired"] for fault in control("GET", "/control/faults")["faults"]] == [1, 1]

    async def play() -> None:
        async with connected(options(source([100.0] * 9))) as client:
            await story(client)

    asyncio.run(play())


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="address already in use"):
            WireExchange(options(source([100.0] * 9), futures_port=port)).start()


def start(*more: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "ops", "exchange", *PORTS, *SECRETS, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_listens_and_ends_cleanly(number: signal.Signals) -> None:
    with start("--json", "--speed", "step", "--history", "10") as process:
        try:
            assert process.stdout is not None
            addresses = json.loads(process.stdout.readline())
            assert sorted(addresses) == ["control", "futures", "now_ms", "spot"]
            control = Control(addresses["control"])
            assert control.truth()["now_ms"] == addresses["now_ms"]
            assert control.advance(1_000) == addresses["now_ms"] + 1_000
            wish = {"do": "enter", "symbol": "BTC-USDT-PERP", "side": 1, "contracts": 3}
            assert control("POST", "/control/outside", **wish)["client_id"] == "app1"
            control.advance(1_000)
            assert len(control.truth()["fills"]) == 1
            process.send_signal(number)
            out, error = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, error) == (0, "", "")


def test_a_person_sees_a_line_for_each_order_and_fill() -> None:
    with start("--speed", "step", "--history", "10", "--symbols", "BTC-USDT-PERP") as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert "synthetic market, seed 1" in first
            control = Control(first.split("control ")[1].split()[0])
            wish = {"do": "enter", "symbol": "BTC-USDT-PERP", "side": 1, "contracts": 3}
            control("POST", "/control/outside", **wish)
            control.advance(1_000)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    opened, filled = out.splitlines()
    assert opened.endswith("open BTC-USDT-PERP buy 3 entry app1")
    assert " fill BTC-USDT-PERP buy 3 at " in filled
    assert not any(secret in first + out for secret in ("key-1", "secret-1", "passphrase-1"))


def test_a_person_is_told_that_recorded_candles_are_over(tmp_path: Path) -> None:
    write_candles(tmp_path / "BTC-USDT-PERP-1h.csv", candle_lines(12))
    words = ["--market", "replay", "--data", str(tmp_path), "--symbols", "BTC-USDT-PERP"]
    with start(*words, "--timeframe", "1h", "--history", "10", "--speed", "step") as process:
        try:
            assert process.stdout is not None
            control = Control(process.stdout.readline().split("control ")[1].split()[0])
            end_ms = control.advance(2 * HOUR)
            control.advance(HOUR)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert out == f"{end_ms} the market is over: prices stand still from now on\n"


def test_clients_are_answered_when_nobody_reads_what_it_says() -> None:
    with start("--speed", "step", "--history", "10", "--symbols", "BTC-USDT-PERP") as process:
        try:
            assert process.stdout is not None
            control = Control(process.stdout.readline().split("control ")[1].split()[0])
            process.stdout.close()
            wish = {"do": "enter", "symbol": "BTC-USDT-PERP", "side": 1, "contracts": 3}
            for number in (1, 2):
                control("POST", "/control/outside", **wish)
                control.advance(1_000)
                assert len(control.truth()["fills"]) == number
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, error) == (0, "")


def test_ctrl_c_is_heard_while_the_history_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    market = source([100.0] * 9)

    def rows() -> Iterator[Row]:
        signal.raise_signal(signal.SIGINT)
        return market.rows()

    monkeypatch.setattr(foreground, "synthetic", lambda *_: replace(market, rows=rows))
    assert main(["exchange", *PORTS, *SECRETS]) == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--speed", "0"], "speed: expected"),
        (["--speed", "fast"], "speed: expected"),
        (["--symbols", "BTC"], "symbol: expected"),
        (["--symbols", "BTC-USDT-PERP,BTC-USDT-PERP"], "symbols: expected each once"),
        (["--symbols", "XBT-USDT-PERP,BTC-USDT-PERP"], "symbols: expected each once"),
        (["--timeframe", "7m"], "timeframe: expected"),
        (["--market", "replay"], "expected --data DIR"),
        (["--data", "nowhere"], "with --market replay only"),
        (["--latency-ms", "40-5"], "latency_ms: expected"),
        (["--latency-ms", "x"], "latency-ms: expected"),
        (["--latency-ms", "\u00b2"], "latency-ms: expected"),  # a digit to Python, but no number
        (["--depth", "0"], "depth: expected"),
        (["--balance", "nan"], "balance: expected"),
        (["--history", "0"], "history: expected"),
        (["--script", "nowhere.csv"], "nowhere.csv: expected a script"),
        (["--key", ""], "key: expected"),
    ],
    ids=str,
)
def test_bad_input_ends_with_2(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exchange", *PORTS, *SECRETS, "--history", "10", *words]) == 2
    assert text in capsys.readouterr().err
