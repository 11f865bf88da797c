"""Metrics and health: complete from the first scrape, named by the rules, served past a hang."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.adapters.metrics import TABLE, MetricsServer
from bot.core.modes import Cause
from tests.support.pictures import IDENTITY, first_picture, get, rich_picture

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
    assert set(rich_picture().samples) == set(TABLE)


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
    absent |= {"websocket_push_age_seconds"}
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
