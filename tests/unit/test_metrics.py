"""Metrics and health: complete from the first scrape, named by the rules, served past a hang."""

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.adapters import metrics
from bot.adapters.metrics import CLIENT_S, MOST_CLIENTS, TABLE, MetricsServer, Published
from bot.core.modes import Cause
from tests.support.crash import in_child
from tests.support.handles import without_handles
from tests.support.pictures import IDENTITY, first_picture, get, rich_picture

GIVEN_BY_PAGE = "loop_age_seconds"
MOST_SERIES = 300  # with ten symbols
STALLED_S = 20.0
UNITS = ("_seconds", "_bytes", "_ratio", "_usdt", "_total", "_info")
WITHOUT_UNIT = {
    *("ready", "mode", "cause_active", "latched", "journal_writable", "symbol_locked"),
    *("journal_pending_rows", "outbox_waiting", "open_positions", "position_contracts"),
    *("errors_last_hour", "exchange_connected"),
}


class Stuck:
    """A loop that published once and then never again."""

    def __init__(self) -> None:
        self.picture = rich_picture()
        self.age = 0.0
        """seconds since the picture was published"""

    def monotonic(self) -> float:
        return self.picture.at + self.age


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


@pytest.fixture
def server(stuck: Stuck) -> Iterator[MetricsServer]:
    made = MetricsServer("127.0.0.1", 0, lambda: stuck.picture, stuck.monotonic, STALLED_S)
    yield made
    made.close()


def test_everything_in_the_table_is_published_and_nothing_else() -> None:
    assert {*rich_picture().samples, GIVEN_BY_PAGE} == set(TABLE)


def test_names_and_help_keep_the_rules() -> None:
    for name, (kind, labels, text) in TABLE.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert name.endswith(UNITS) != (name in WITHOUT_UNIT), name
        assert text.endswith("."), name
        assert set(labels) <= {
            *("version", "release_id", "content_hash", "config_hash", "python", "trading"),
            *("mode", "cause", "symbol", "window", "role", "outcome", "kind", "channel"),
        }


def test_a_scrape_holds_every_label_value(server: MetricsServer) -> None:
    code, text = get(server, "/metrics")
    assert code == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    causes = {sample.labels["cause"] for sample in families["radbot_cause_active"].samples}
    assert causes == {cause.label for cause in Cause}
    assert all(family.documentation for family in families.values())
    [contracts] = families["radbot_position_contracts"].samples
    assert contracts.value == 10.0


def test_the_first_picture_has_every_series_and_there_are_not_many() -> None:
    symbols = 10
    samples = first_picture(symbols).samples
    assert sum(len(found) for found in samples.values()) < MOST_SERIES
    later = rich_picture().samples
    absent = {"win_rate_ratio", "trade_duration_average_seconds", "sharpe_ratio"}  # undefined yet
    absent |= {"websocket_push_age_seconds", GIVEN_BY_PAGE}
    for name, (_, labels, _) in TABLE.items():
        if labels == ("symbol",):
            assert set(samples[name]) == {(f"S{k}-USDT-PERP",) for k in range(symbols)}
        elif name not in absent:
            assert set(samples[name]) == set(later[name])


def test_health_tells_a_hang_from_readiness(server: MetricsServer, stuck: Stuck) -> None:
    code, body = get(server, "/healthz")
    assert code == 200
    told = json.loads(body)
    assert told["ready"]
    assert told.items() >= IDENTITY.items()
    assert (told["mode"], told["positions"]) == ("RUN", 1)
    stuck.age = STALLED_S + 1.0
    code, body = get(server, "/healthz")
    assert code == 503
    assert json.loads(body)["stalled"]
    assert get(server, "/else")[0] == 404


def test_the_page_tells_a_hang_too(server: MetricsServer, stuck: Stuck) -> None:
    uncovered = {("A-USDT-PERP",): 2.0, ("B-USDT-PERP",): 0.0}
    was = {"data_age_seconds": {(): 1.0}, "uncovered_seconds": uncovered}
    stuck.picture = replace(stuck.picture, samples={**stuck.picture.samples, **was})
    for age, ready in ((3.0, 1.0), (STALLED_S + 1.0, 0.0)):
        stuck.age = age
        _, page = get(server, "/metrics")
        told = {
            (sample.name, sample.labels.get("symbol")): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
        assert told["radbot_ready", None] == ready
        assert told["radbot_loop_age_seconds", None] == age
        assert told["radbot_data_age_seconds", None] == 1.0 + age
        assert told["radbot_reconcile_age_seconds", None] >= age
        assert told["radbot_uncovered_seconds", "A-USDT-PERP"] == 2.0 + age
        assert told["radbot_uncovered_seconds", "B-USDT-PERP"] == 0.0


def test_a_stuck_loop_does_not_hold_up_a_scrape(server: MetricsServer, stuck: Stuck) -> None:
    stuck.age = 10.0 * STALLED_S
    took, done = [], threading.Event()

    def loop() -> None:
        while not done.is_set():  # never sleeps, and never gives the interpreter away
            pass

    spinning = threading.Thread(target=loop)
    spinning.start()
    try:
        for _ in range(5):
            began = time.perf_counter()
            assert get(server, "/metrics")[0] == 200
            took.append(time.perf_counter() - began)
    finally:
        done.set()
        spinning.join()
    assert min(took) < 0.1  # the best one: the machine may be busy with something else


def test_not_ready_is_no_hang(server: MetricsServer, stuck: Stuck) -> None:
    stuck.picture = first_picture(1)
    code, body = get(server, "/healthz")
    assert code == 503
    assert (json.loads(body)["ready"], json.loads(body)["stalled"]) == (False, False)


def silent(server: MetricsServer) -> socket.socket:
    """Return a client that has begun to ask, and does not go on."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=10.0)
    client.sendall(b"GET /met")
    return client


def serving() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_who_does_not_finish_takes_neither_threads_nor_handles_nor_the_next_scrape(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, handles = serving(), len(os.listdir("/dev/fd"))
    with ExitStack() as all_of_them:
        clients = [all_of_them.enter_context(silent(server)) for _ in range(MOST_CLIENTS)]
        more = [all_of_them.enter_context(silent(server)) for _ in range(20)]
        for client in more:  # there is no room: hung up on at once
            client.settimeout(CLIENT_S / 2.0)
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
        assert serving() - before <= MOST_CLIENTS
        most = handles + len(clients) + len(more) + MOST_CLIENTS
        end = time.monotonic() + 10.0  # it hangs up first, and gives the handle back then
        while len(os.listdir("/dev/fd")) > most and time.monotonic() < end:
            time.sleep(0.01)
        assert len(os.listdir("/dev/fd")) <= most
        monkeypatch.setattr(metrics, "CLIENT_S", 1.0)
        end = time.monotonic() + 10.0
        while serving() > before and time.monotonic() < end:
            for client in clients:
                with suppress(OSError):  # busily, a letter at a time
                    client.sendall(b"x")
            time.sleep(0.05)
        assert serving() == before
        assert get(server, "/metrics")[0] == 200


def test_a_client_that_goes_away_is_no_news(
    server: MetricsServer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = serving()
    for _ in range(10):
        client = silent(server)
        while serving() == before:
            time.sleep(0.01)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # by a reset
        while serving() > before:
            time.sleep(0.01)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""


def test_what_fails_inside_is_logged(stuck: Stuck, caplog: pytest.LogCaptureFixture) -> None:
    broken = MetricsServer("127.0.0.1", 0, lambda: 1 / 0, stuck.monotonic, STALLED_S)  # type: ignore
    with broken.socket, suppress(OSError):
        get(broken, "/metrics")
    broken.close()
    assert "metrics: a request has failed" in caplog.text


def test_a_client_for_whom_no_handle_is_left_is_waited_for() -> None:
    """In a child, because its handles are taken away."""

    def serve() -> None:
        server = MetricsServer("127.0.0.1", 0, Published, time.monotonic, STALLED_S)
        client = socket.socket()
        with without_handles():
            client.connect(("127.0.0.1", server.port))
            began = time.process_time()
            time.sleep(1.0)
            assert time.process_time() - began < 0.5

    assert in_child(serve) == 0
