"""Metrics and health: complete from the first scrape, named by the rules, served past a hang."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.adapters.metrics import TABLE, MetricsServer, Published
from bot.core.messages import OrderAccepted, OrderFilled, PlaceOrder, Role, Tick
from bot.core.modes import Cause
from bot.core.state import State
from bot.shell.telemetry import Telemetry
from tests.support.runs import trade
from tests.support.states import Desk
from tests.support.worlds import make_world

IDENTITY = {
    "version": "0",
    "release_id": "r",
    "content_hash": "c",
    "config_hash": "h",
    "run_id": "x",
}
GIVEN_BY_LOOP = {
    "data_age_seconds",
    "latched",
    "memory_limit_bytes",
    "outbox_waiting",
    "watchdog_pings_total",
}
MOST_SERIES = 300  # with ten symbols


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


def test_promtool_has_nothing_to_say(server: MetricsServer) -> None:
    tool = shutil.which("promtool")
    assert tool is not None, "promtool is missing: sudo sh scripts/system.sh, or install Prometheus"
    _, page = get(server, "/metrics")
    done = subprocess.run(
        [tool, "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_first_picture_has_every_series_and_there_are_not_many() -> None:
    symbols = 10
    world = make_world(symbols)
    names = tuple(f"S{k}-USDT-PERP" for k in range(symbols))
    state = State(world, names, "t")
    telemetry = Telemetry(IDENTITY)
    telemetry.publish(state, False, dict.fromkeys(GIVEN_BY_LOOP, 0.0))
    first = {(name, values) for name, found in telemetry.latest.samples.items() for values in found}
    assert len(first) < MOST_SERIES
    by_symbol = [name for name, (_, labels, _) in TABLE.items() if labels == ("symbol",)]
    assert by_symbol
    for name in by_symbol:
        assert {values for found, values in first if found == name} == {(n,) for n in names}


def test_order_latency_is_from_the_order_to_its_first_answer() -> None:
    now = [10.0]
    telemetry = Telemetry(IDENTITY, lambda: now[0])
    desk = Desk()
    order = PlaceOrder("t-1-entry", 0, Role.ENTRY, 1, 1.0, 100.0, 3.0)
    telemetry.saw(Tick(0), [order], desk.state)
    now[0] = 10.25
    telemetry.saw(OrderAccepted(0, "t-1-entry"), [], desk.state)
    now[0] = 11.0
    telemetry.saw(OrderFilled(0, "t-1-entry", "f", 1.0, 100.0, 0.0), [], desk.state)
    telemetry.publish(desk.state, True, {})
    samples = telemetry.latest.samples
    assert samples["order_latency_seconds"][()] == 0.25
    assert samples["order_answers_total"][()] == 1
    assert samples["orders_total"]["entry", "sent"] == 1
    assert samples["orders_total"]["entry", "filled"] == 1


def test_a_position_is_measured_against_its_cap() -> None:
    desk = Desk()
    desk.enter()
    telemetry = Telemetry(IDENTITY)
    telemetry.publish(desk.state, True, {})
    ratios = telemetry.latest.samples["position_cap_ratio"]
    notional = telemetry.latest.samples["position_notional_usdt"]
    [name] = [values for values, value in notional.items() if value]
    account = desk.state.world.account
    tier = desk.state.world.tiers[max(account.tier, 0)]
    assert ratios[name] == pytest.approx(notional[name] / (tier.max_share * account.equity))
    assert telemetry.latest.samples["position_entry_price_usdt"][name] > 0.0
