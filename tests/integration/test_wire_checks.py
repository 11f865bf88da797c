"""What a start of the live bot asks of the exchange, and what it does when an answer is no, another
than before, or does not come."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bot.adapters import kucoin_client
from bot.adapters.kucoin import ContractsChangedError
from bot.adapters.kucoin_fields import wire_symbol
from bot.adapters.kucoin_site import Site
from bot.core.messages import Command, Operator
from bot.core.modes import Cause
from bot.shell import live_checks
from bot.shell.account_file import read_account
from bot.shell.exchange_line import connect
from bot.shell.live_checks import LiveRefusedError
from tests.support.wire import KEYS, Simulator, simulator
from tests.support.wire_drills import WireDrill, drill_config, plan
from tests.support.wire_fault_drill import MARKET, STARTS, SYMBOLS

type Plain = dict[str, Any]
TEST_ORDERS = "/api/v1/orders/test"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulator(*MARKET) as made:
        yield made


@pytest.fixture
def exchange(running: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Return the simulator with a new account, at a moment when a new bot enters soon."""
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    running.ask("reset", STARTS[0].setting())
    return running


def error(path: str, code: str, **more: Any) -> Plain:
    """Return the fault by which the exchange answers a path with an error."""
    return {"kind": "error", "path": path, "code": code, "msg": "as told", "times": 0, **more}


def die_in_a_position(exchange: Simulator, folder: Path) -> list[str]:
    """Run a bot until it holds something under its stops, and end it there; return what it is."""
    with closing(WireDrill(folder, exchange)) as drill:
        drill.start()
        state = drill.state
        while not (held := state.held) or drill.daemon.in_doubt() or drill.daemon.waits():
            drill.turn()
        return [state.symbols[k] for k in held]


def told_of(folder: Path, kind: str) -> list[Plain]:
    """Return the messages of a kind that were left for people."""
    told = [json.loads(path.read_text()) for path in (folder / "outbox").glob("*.json")]
    return [one for one in told if one["kind"] == kind]


# Orders that the exchange checks and does not place.


def test_orders_of_our_kinds_are_understood_at_a_mark_off_the_grid(
    exchange: Simulator, tmp_path: Path
) -> None:
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        drill.run_bars(1)
        asked = exchange.truth()["requests"]
        mark = drill.venue.wire.run(drill.venue.public.mark_price(0), 5.0)
    assert asked[f"POST {TEST_ORDERS}"] == 2
    steps = mark / drill.venue.specs[0].tick
    assert abs(steps - round(steps)) > 0.1


def test_orders_that_are_not_understood_are_refused(exchange: Simulator, tmp_path: Path) -> None:
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        plan(exchange, [error(TEST_ORDERS, "330011")])
        with pytest.raises(LiveRefusedError) as refused:
            drill.start()
    for role in ("entry", "stop"):
        said = f"BTC-USDT-PERP: {role} orders are refused: set the account to one-way mode"
        assert said in str(refused.value)
    assert "POST /api/v1/orders" not in exchange.truth()["requests"]


# What the spot host says of account and key, or does not.

MODE, KEY = "/api/ua/v1/account/mode", "/api/v1/user/api-key"
UNTOLD = [
    *((path, "404000", 404) for path in (MODE, KEY)),
    *((path, "400100", 200) for path in (MODE, KEY)),
    *((path, "400007", 401) for path in (MODE, KEY)),
]


@pytest.mark.parametrize(("path", "code", "status"), UNTOLD)
def test_what_the_exchange_does_not_tell_is_a_warning(
    exchange: Simulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    path: str,
    code: str,
    status: int,
) -> None:
    plan(exchange, [error(path, code, status=status)])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        assert drill.state.modes.name == "RUN"
    what = {MODE: "whether the account is a unified one", KEY: "whether the API key may withdraw"}
    warned = [r.message for r in caplog.records if "does not tell" in r.message]
    assert [text for text in warned if what[path] in text and f"KuCoin {code}" in text] == warned
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [({"kind": "null"}, "expected"), ({"kind": "slow_before", "seconds": 60}, "within 0.1 s")],
    ids=["null", "silence"],
)
def test_an_answer_without_sense_and_none_at_all_are_the_same(
    exchange: Simulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Plain,
    why: str,
) -> None:
    monkeypatch.setattr(kucoin_client, "PAUSE_S", 0.01)
    monkeypatch.setattr(live_checks, "TOLD_S", 0.1 if "seconds" in fault else 5.0)
    plan(exchange, [{**fault, "path": path, "times": 0} for path in (MODE, KEY)])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
    warned = [r.message for r in caplog.records if "does not tell" in r.message]
    assert len(warned) == 2
    assert all(why in text for text in warned)


@pytest.mark.parametrize("code", ["116104", "112010"])
def test_an_account_that_does_not_know_the_question_is_classic(
    exchange: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    plan(exchange, [error(MODE, code)])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        assert drill.state.modes.name == "RUN"
        assert drill.bot.venue.take_errors() == []
    assert [r.message for r in caplog.records if r.name == "radbot.exchange"] == []
    assert not [r for r in caplog.records if "does not tell" in r.message]


def test_positions_are_covered_before_a_spot_host_that_is_down_is_asked(
    exchange: Simulator, tmp_path: Path
) -> None:
    held = die_in_a_position(exchange, tmp_path / "s")
    for order in exchange.truth()["orders"]:
        exchange.ask("outside", {"do": "cancel", "client_id": order["client_id"]})
    plan(exchange, [{"kind": "drop_before", "path": path, "times": 0} for path in (MODE, KEY)])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        covered = {order["symbol"] for order in exchange.truth()["orders"]}
        assert set(held) <= covered
        drill.run_bars(1)
        drill.check()


def test_an_account_that_has_become_another_is_refused_after_its_books_are_true(
    exchange: Simulator, tmp_path: Path
) -> None:
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
    exchange.ask("market", {"do": "account", "mode": "UNIFIED"})
    with (
        closing(WireDrill(tmp_path / "s", exchange)) as drill,
        pytest.raises(LiveRefusedError, match="unified account"),
    ):
        drill.start()


# Contracts.


def test_a_paused_contract_does_not_hold_up_a_bot_that_holds_another(
    exchange: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [held] = die_in_a_position(exchange, tmp_path / "s")
    others = [symbol for symbol in SYMBOLS.split(",") if symbol != held]
    assert others[0] == SYMBOLS.split(",")[0]
    exchange.ask("market", {"do": "pause", "symbol": others[0]})
    before = exchange.truth()["requests"][f"POST {TEST_ORDERS}"]
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        assert exchange.truth()["requests"][f"POST {TEST_ORDERS}"] == before + 2
        assert "self-test" not in caplog.text
        assert drill.state.modes.name == "RUN"
    for symbol in (held, others[1]):
        exchange.ask("market", {"do": "pause", "symbol": symbol})
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
    assert exchange.truth()["requests"][f"POST {TEST_ORDERS}"] == before + 2
    assert "self-test of orders is left out: no contract is open" in caplog.text


def test_a_contract_that_is_paused_just_now_does_not_hold_up_a_start(
    exchange: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan(exchange, [error(TEST_ORDERS, "300002")])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
    assert "self-test of entry orders got no answer: trading is suspended" in caplog.text


def test_contracts_that_changed_while_the_exchange_was_away_end_the_start(
    exchange: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [held] = die_in_a_position(exchange, tmp_path / "s")
    plan(exchange, [{"kind": "outage"}])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        plan(exchange, [])
        exchange.ask("market", {"do": "tick_size", "symbol": held, "tick": 0.5})
        sent = exchange.truth()["requests"].get("POST /api/v1/orders")
        with pytest.raises(ContractsChangedError, match=rf"{held}.*tick=0\.5"):
            drill.start()
        assert exchange.truth()["requests"].get("POST /api/v1/orders") == sent
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        k = drill.state.symbols.index(held)
        assert drill.venue.specs[k].tick == 0.5
        # A stop at a level of the old grid could not be sent.
        assert drill.state.world.positions[k].stop_price % 0.5 == 0.0
        drill.run_bars(1)
        drill.check()
    assert drill.replayed() > 0
    assert "expected a multiple of" not in caplog.text
    [told] = told_of(tmp_path / "s", "contracts_changed")
    assert told["severity"] == "WARNING"
    assert held in told["body"]
    assert "tick=0.5" in told["body"]


def test_contracts_that_changed_do_not_keep_a_bot_with_a_full_disk_from_its_positions(
    exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [held] = die_in_a_position(exchange, tmp_path / "s")
    exchange.ask("market", {"do": "tick_size", "symbol": held, "tick": 0.5})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with closing(WireDrill(tmp_path / "s", exchange)) as drill:
            drill.start()
            k = drill.state.symbols.index(held)
            assert drill.venue.specs[k].tick == 0.5
            drill.check()
    with closing(WireDrill(tmp_path / "s", exchange)):
        assert told_of(tmp_path / "s", "account_file") == []  # nor could that be written
        known = read_account(tmp_path / "s")
    assert known is not None
    assert known.specs[k].tick == 0.5


# What refuses a flat account halts a bot that holds something.


def unfit(exchange: Simulator, held: str) -> list[Plain]:
    """Make everything but `held` as live trading must not have it; return the faults besides."""
    first, second = (symbol for symbol in SYMBOLS.split(",") if symbol != held)
    exchange.ask("market", {"do": "margin_mode", "symbol": first, "mode": "CROSS"})
    exchange.ask("market", {"do": "delist", "symbol": second})
    exchange.ask("market", {"do": "account", "mode": "UNIFIED"})
    gone = f"/api/v1/contracts/{wire_symbol(second)}"
    return [error(gone, "100003"), error(TEST_ORDERS, "330011")]


SAID = ("margin mode is CROSS", "does not list it", "unified account", "entry orders are refused")


@pytest.mark.parametrize("away", [False, True], ids=["there", "away at first"])
def test_a_bot_that_holds_something_protects_it_and_is_halted(
    exchange: Simulator, tmp_path: Path, away: bool
) -> None:
    [held] = die_in_a_position(exchange, tmp_path / "s")
    for order in exchange.truth()["orders"]:
        exchange.ask("outside", {"do": "cancel", "client_id": order["client_id"]})
    faults = unfit(exchange, held)
    plan(exchange, [{"kind": "outage"}] if away else faults)
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        plan(exchange, faults)
        drill.start()
        assert {order["symbol"] for order in exchange.truth()["orders"]} == {held}
        assert drill.state.modes.name == "HALT"
        assert set(drill.state.modes.causes) == {Cause.OPERATOR_HALT}
        [told] = told_of(tmp_path / "s", "account_unfit")
        assert told["severity"] == "CRITICAL"
        assert all(said in told["body"] for said in SAID)
        drill.run_bars(2)
        drill.check()
        assert drill.state.modes.name == "HALT"
        drill.bot.engine.feed(Operator(drill.state.now_ms, Command.RESUME, "seen"))
        assert drill.state.modes.name == "RUN"


def test_the_same_account_is_refused_when_it_is_flat(exchange: Simulator, tmp_path: Path) -> None:
    [held] = die_in_a_position(exchange, tmp_path / "s")
    plan(exchange, [{"kind": "outage"}])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        plan(exchange, unfit(exchange, held))
        exchange.ask("outside", {"do": "close", "symbol": held})
        while exchange.truth()["positions"]:
            drill.clock.now_ms = exchange.advance(1_000)
        with pytest.raises(LiveRefusedError, match="margin mode is CROSS"):
            drill.start()


# Positions that are there and not on the exchange's list of them.

EMPTY = {"kind": "status", "status": 200, "body": json.dumps({"code": "200000", "data": []})}


def test_a_list_that_is_empty_takes_no_stop_away(exchange: Simulator, tmp_path: Path) -> None:
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        while not drill.state.held or drill.daemon.in_doubt() or drill.daemon.waits():
            drill.turn()
        rests = {order["client_id"] for order in exchange.truth()["orders"]}
        plan(exchange, [{**EMPTY, "path": "/api/v1/positions", "times": 0}])
        for _ in range(10):
            drill.turn(2_000)
        assert {order["client_id"] for order in exchange.truth()["orders"]} == rests
        plan(exchange, [])
        drill.run_bars(1)
        drill.check()
        assert drill.state.modes.name == "RUN"


def test_nor_does_one_that_has_not_heard_of_an_entry_yet(
    exchange: Simulator, tmp_path: Path
) -> None:
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        plan(exchange, [{**EMPTY, "path": "/api/v1/positions", "times": 0}])
        while not drill.state.held:
            drill.turn()
        for _ in range(10):
            drill.turn(2_000)
        [k] = drill.state.held
        plan(exchange, [])
        drill.run_bars(1)
        drill.check()
        assert drill.state.covered(k) == drill.state.world.positions[k].contracts
        assert drill.state.modes.name == "RUN"


def test_nor_does_one_that_is_empty_at_a_start(exchange: Simulator, tmp_path: Path) -> None:
    """Nor when the fills that have led to the position are too old for the list of recent ones."""
    die_in_a_position(exchange, tmp_path / "s")
    old = {"kind": "late_fills", "ms": 86_400_000}
    plan(exchange, [old, {**EMPTY, "path": "/api/v1/positions", "times": 2}])
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:
        drill.start()
        assert exchange.truth()["requests"]["GET /api/v1/position"] == 1
        plan(exchange, [])
        drill.check()


def test_a_start_compares_the_clock_of_the_host(exchange: Simulator) -> None:
    """Not with a simulator, which plays another year; so this one is taken for KuCoin."""
    config = drill_config(exchange)
    line = connect(config, KEYS)
    try:
        line.site = Site()
        assert any("the host's clock is off by" in reason for reason in line.look(config).refusals)
    finally:
        line.close()
