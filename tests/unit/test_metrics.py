"""Metrics and health: complete from the first scrape, named by the rules, served past a hang."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.adapters.metrics import TABLE, MetricsServer, Published
from bot.core.modes import Cause
from bot.shell.telemetry import Telemetry
from tests.support.runs import trade
from tests.support.states import Desk

IDENTITY = {
    "version": "0",
    "release_id": "r",
    "content_hash": "c",
    "config_hash": "h",
    "run_id": "x",
}
GIVEN_BY_LOOP = {"latched", "memory_limit_bytes", "outbox_waiting", "watchdog_pings_total"}


def published() -> Published:
    telemetry = Telemetry(IDENTITY)
    telemetry.restore([trade(5.0), trade(-1.0)], [(0, 100.0), (1, 101.0), (2, 100.5)])
    desk = Desk()
    desk.enter()
    telemetry.publish(desk.state, True, dict.fromkeys(GIVEN_BY_LOOP, 0.0))
    return telemetry.latest


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    picture = published()
    made = MetricsServer("127.0.0.1", 0, lambda: picture, lambda: picture.at + AGE[0], 20.0)
    AGE[0] = 0.0
    yield made
    made.close()


AGE = [0.0]
"""seconds since the picture was published"""


def get(server: MetricsServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_everything_in_the_table_is_published_and_nothing_else() -> None:
    assert set(published().samples) == set(TABLE)


def test_names_and_help_keep_the_rules() -> None:
    for name, (kind, labels, text) in TABLE.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert text.endswith("."), name
        assert set(labels) <= {
            *("version", "release_id", "content_hash", "config_hash", "python"),
            *("mode", "cause", "symbol", "window", "role", "outcome", "kind"),
        }


def test_a_scrape_holds_every_label_value_and_a_bounded_number_of_series(
    server: MetricsServer,
) -> None:
    code, text = get(server, "/metrics")
    assert code == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    causes = {sample.labels["cause"] for sample in families["radbot_cause_active"].samples}
    assert causes == {cause.label for cause in Cause}
    assert all(family.documentation for family in families.values())
    assert sum(len(family.samples) for family in families.values()) < 150
    [contracts] = families["radbot_position_contracts"].samples
    assert contracts.value == 10.0


def test_health_tells_a_hang_from_readiness(server: MetricsServer) -> None:
    code, body = get(server, "/healthz")
    assert code == 200
    told = json.loads(body)
    assert told["ready"]
    assert set(IDENTITY) - {"version"} < set(told)
    assert (told["mode"], told["positions"]) == ("RUN", 1)
    AGE[0] = 21.0
    code, body = get(server, "/healthz")
    assert code == 503
    assert json.loads(body)["stalled"]
    assert get(server, "/else")[0] == 404


def test_a_scrape_is_fast_while_this_thread_does_something_else(server: MetricsServer) -> None:
    get(server, "/metrics")
    began = time.perf_counter()
    assert get(server, "/metrics")[0] == 200
    assert time.perf_counter() - began < 0.1
