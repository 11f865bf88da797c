"""`radbot kill` and `close` on a live account whose bot hangs or is dead, over the wire.

A bot enters in lock-step, is gone, and the command runs as a process of its own; the simulator's
own books say what is left.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.latches import Latches
from bot.core.modes import Cause
from bot.shell.account_file import read_account, write_account
from bot.shell.control import Request
from bot.shell.emergency_live import TRY_FOR_S
from tests.support.counts import Count
from tests.support.processes import PATIENCE_S, ROOT
from tests.support.wire import Simulator, credentials_folder, simulator
from tests.support.wire_drills import WireDrill, drill_config, plan

SYMBOLS = "BTC-USDT-PERP,ETH-USDT-PERP,SOL-USDT-PERP"
SEED = "2"
SKIP = 799
"""rows before an entry; found with a run without faults, as SEED"""
STEP_MS = 200
ORDER_LISTS = ("/api/v1/orders", "/api/v1/stopOrders")

type Plain = dict[str, Any]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    words = ["--symbols", SYMBOLS, "--speed", "step", "--history", str(SKIP), "--seed", SEED]
    words += ["--depth", "1000000"]
    with simulator("--market", "synthetic", *words) as made:
        yield made


@pytest.fixture
def state(exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the state directory of a bot that has died in a position."""
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    drill = WireDrill(tmp_path / "s", exchange, skip=SKIP)
    drill.start()
    for _ in range(200):
        drill.turn()
        held = drill.state.held
        if held and all(drill.state.covered(k) for k in held) and not drill.venue.hot:
            break
    drill.check()
    assert drill.exchange.truth()["positions"]
    drill.close()
    credentials_folder(tmp_path / "keys")
    return tmp_path / "s"


def command(
    exchange: Simulator, state: Path, *words: str, meanwhile: Callable[[], None] = lambda: None
) -> tuple[int, Plain, str]:
    """Run a command while market time passes; return exit code, its object and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", *words, "--state", str(state), "--json", "--yes"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        exchange.advance(STEP_MS)
        meanwhile()
        try:
            process.wait(STEP_MS / 1000.0)
            break
        except subprocess.TimeoutExpired:
            continue
    said, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, json.loads(said) if said else {}, errors


def keys(state: Path) -> tuple[str, str]:
    return "--credentials", str(state.parent / "keys")


def flat(exchange: Simulator) -> bool:
    truth = exchange.truth()
    return not truth["positions"] and not truth["orders"]


def test_a_dead_bot_is_flattened_and_latched_and_its_next_start_knows(
    exchange: Simulator, state: Path
) -> None:
    code, told, said = command(exchange, state, "kill", "--reason", "drill", *keys(state))
    assert (code, told["flat"], told["left"], told["through"]) == (0, True, [], "exchange"), said
    assert flat(exchange)
    latch = Latches(state / "latches").read()
    assert latch is not None
    assert latch.reason == "drill"
    Count("kill of a live account without its bot: flat after").add(ms=int(1000 * told["seconds"]))
    drill = WireDrill(state, exchange)
    drill.start()
    drill.run_bars(1)
    assert drill.state.modes.name == "FLATTEN"
    drill.check()
    drill.close()
    drill.replayed()


@contextmanager
def in_a_trade(exchange: Simulator, folder: Path) -> Iterator[WireDrill]:
    """Yield a bot that holds something, and nothing is under way."""
    with closing(WireDrill(folder, exchange, skip=SKIP)) as drill:
        drill.start()
        while not drill.state.held or drill.venue.hot:
            drill.turn()
        yield drill


def asked(drill: WireDrill, command: str, symbol: str = "") -> Request:
    """Ask a bot for a kill or close; it obeys in its next turn."""
    request = Request(command, {"reason": "drill", "by": "ann", "symbol": symbol})
    drill.daemon.parts.obedience.commands.asked.put_nowait(request)
    return request


def newest(request: Request) -> Plain:
    """Return what a request was answered last."""
    return list(request.answers.queue)[-1]


def enter_the_same(drill: WireDrill, held: Plain) -> None:
    """Let a person open another position like one that is held: it has no stop of the bot's."""
    wish = {name: held[name] for name in ("symbol", "side", "contracts")}
    drill.exchange.ask("outside", {"do": "enter", **wish})
    drill.line_down = True


def test_a_bot_that_kills_says_which_orders_it_leaves_to_others(
    exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    with in_a_trade(exchange, tmp_path / "s") as drill:
        [held] = exchange.truth()["positions"]
        other = next(name for name in SYMBOLS.split(",") if name != held["symbol"])
        orders = []
        for name in (held["symbol"], other):
            resting = exchange.ask("outside", {"do": "rest", "symbol": name})
            orders.append(f"order {resting['client_id']} on {name}")
        for command_, symbol in (("close", held["symbol"]), ("kill", "")):
            request = asked(drill, command_, symbol)
            drill.run_bars(1)
            told = newest(request)
            assert (told["done"], told["flat"]) == (True, True)
            assert sorted(told["foreign"]) == sorted(orders if command_ == "kill" else orders[:1])
            assert told["note"].startswith("not the bot's and not touched: order ")
        assert {order["symbol"] for order in exchange.truth()["orders"]} == {held["symbol"], other}


def lower_largest_order(exchange: Simulator, held: Plain) -> None:
    """Let fewer contracts fit into one order than a third of what is held."""
    contracts = held["contracts"] // 3 - 1
    change = {"do": "largest_order", "symbol": held["symbol"], "contracts": contracts}
    exchange.ask("market", change)


def test_a_bot_closes_in_parts_when_the_largest_order_has_been_lowered(
    exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    with in_a_trade(exchange, tmp_path / "s"):
        [held] = exchange.truth()["positions"]
    lower_largest_order(exchange, held)
    with closing(WireDrill(tmp_path / "s", exchange)) as drill:  # a start takes the new contracts
        drill.start()
        request = asked(drill, "close", held["symbol"])
        for _ in range(20):
            drill.turn()
        told = newest(request)
        assert (told["done"], told["flat"]) == (True, True), told
        assert flat(exchange)
        exits = [f for f in exchange.truth()["finished"] if f["client_id"].endswith("-exit")]
        assert len(exits) == 4
        drill.check()


def test_a_kill_closes_in_parts_when_the_largest_order_has_been_lowered(
    exchange: Simulator, state: Path
) -> None:
    """The contract that the bot has written down is the old one."""
    [held] = exchange.truth()["positions"]
    lower_largest_order(exchange, held)
    code, told, said = command(exchange, state, "kill", *keys(state))
    assert (code, told["flat"], told["closed"]) == (0, True, [held["symbol"]]), (told, said)
    assert flat(exchange)


def test_a_row_of_others_that_makes_no_sense_does_not_blind_the_bot(
    exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    config = drill_config(exchange, 'symbols=["BTC-USDT-PERP","ETH-USDT-PERP"]')
    with closing(WireDrill(tmp_path / "s", exchange, skip=SKIP, config=config)) as drill:
        drill.shared = True
        drill.start()
        odd = {"kind": "null_fields", "symbol": "SOLUSDTM", "times": 0}
        rows = {"positions": "currentQty", "orders": "filledSize", "recentFills": "price"}
        plan(exchange, [{**odd, "path": f"/api/v1/{k}", "fields": [v]} for k, v in rows.items()])
        deed = {"symbol": "SOL-USDT-PERP", "side": 1, "contracts": 5}
        exchange.ask("outside", {"do": "enter", **deed})
        exchange.ask("outside", {"do": "rest", "symbol": "SOL-USDT-PERP"})
        drill.run_bars(3)
        plan(exchange, [])
        causes = drill.state.modes.causes
        assert Cause.FOREIGN_ORDER in causes
        assert Cause.EXCHANGE_UNREACHABLE not in causes
        assert drill.clock.now_ms - drill.venue.account_ms < 30_000


@contextmanager
def hanging_bot(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that holds the directory and does nothing."""
    hang = (
        "import signal, sys; from pathlib import Path; from bot.adapters.locks import InstanceLock;"
        "lock = InstanceLock.acquire(Path(sys.argv[1]), {}); print(flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hang, str(state / "lock")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    ) as hanging:
        assert hanging.stdout is not None
        hanging.stdout.readline()
        yield hanging


def test_a_process_that_hangs_is_killed_first(exchange: Simulator, state: Path) -> None:
    with hanging_bot(state) as hanging:
        code, told, said = command(exchange, state, "kill", "--timeout", "1", *keys(state))
        assert f"process {hanging.pid} does not answer: killing it" in said
        assert hanging.wait(PATIENCE_S) == -9
    assert (code, told["flat"]) == (0, True)
    assert flat(exchange)


def test_a_process_that_hangs_is_let_be_when_there_is_nothing_to_close(
    exchange: Simulator, state: Path
) -> None:
    held = {position["symbol"] for position in exchange.truth()["positions"]}
    flat_one = next(name for name in SYMBOLS.split(",") if name not in held)
    with hanging_bot(state) as hanging:
        code, told, said = command(
            exchange, state, "close", flat_one, "--timeout", "1", *keys(state)
        )
        assert hanging.poll() is None
        hanging.kill()
    assert (code, told["flat"], told["closed"], told["symbol"]) == (0, True, [], flat_one), said
    assert {position["symbol"] for position in exchange.truth()["positions"]} == held


@pytest.mark.parametrize("order", ["kill", "close"])
@pytest.mark.parametrize("key", ["none", "another", "refused"])
def test_a_process_that_hangs_is_let_be_where_nobody_could_do_its_work(
    exchange: Simulator, state: Path, order: str, key: str
) -> None:
    [held] = exchange.truth()["positions"]
    part = "secret" if key == "refused" else "key"
    (state.parent / "keys" / f"kucoin_{part}").write_text("another\n", encoding="ascii")
    asked = words(exchange, order)
    given = () if key == "none" else keys(state)
    with hanging_bot(state) as hanging:
        code, told, said = command(exchange, state, *asked, "--timeout", "1", *given)
        assert hanging.poll() is None, said
        hanging.kill()
    assert code == (2 if key == "another" else 77), said
    assert told.get("flat") is (None if (key, order) == ("another", "close") else False)
    assert (Latches(state / "latches").read() is not None) == (order == "kill")
    assert [p["contracts"] for p in exchange.truth()["positions"]] == [held["contracts"]]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503, "times": 6},
        {"kind": "drop_after", "method": "POST", "path": "/api/v1/orders", "times": 2},
        {"kind": "drop_before", "method": "POST", "path": "/api/v1/orders", "times": 2},
        {"kind": "slow_after", "method": "POST", "path": "/api/v1/orders", "seconds": 6.0},
        {"kind": "error", "code": "300002", "msg": "suspended", "role": "exit", "times": 2},
        {"kind": "html", "times": 5},
    ],
    ids=lambda fault: fault["kind"],
)
def test_it_tries_until_the_exchange_has_done_it(
    exchange: Simulator, state: Path, fault: Plain
) -> None:
    plan(exchange, [fault])
    code, told, said = command(exchange, state, "kill", *keys(state))
    assert (code, told["flat"]) == (0, True), (told, said)
    assert flat(exchange)
    [known] = exchange.ask("faults")["faults"]
    assert known["fired"] > 0


def posts(truth: Plain) -> int:
    """Return how many orders have been sent so far."""
    return int(truth["requests"].get("POST /api/v1/orders", 0))


def test_an_exit_that_takes_long_holds_up_no_other(exchange: Simulator, state: Path) -> None:
    [held] = exchange.truth()["positions"]
    other = next(name for name in SYMBOLS.split(",") if name != held["symbol"])
    exchange.ask("outside", {"do": "enter", "symbol": other, "side": 1, "contracts": 5})
    exchange.advance(STEP_MS)
    known = read_account(state)
    assert known is not None
    write_account(state, replace(known, timeout_s=60.0))
    plan(exchange, [{"kind": "slow_before", "role": "exit", "seconds": 4.0, "times": 2}])
    before, most = posts(exchange.truth()), 0

    def meanwhile() -> None:
        """Count the exits that have been sent while none has reached the market."""
        nonlocal most
        truth = exchange.truth()
        exits = [order for order in truth["orders"] if order["role"] == "exit"]
        if len(truth["positions"]) == 2 and not exits:
            most = max(most, posts(truth) - before)

    code, told, said = command(exchange, state, "kill", *keys(state), meanwhile=meanwhile)
    assert (code, told["flat"], len(told["closed"])) == (0, True, 2), (told, said)
    assert most == 2


def test_records_and_money_that_make_no_sense_do_not_hold_it_up(
    exchange: Simulator, state: Path
) -> None:
    names = ("recentFills", "fills", "account-overview", "funding-history", "transaction-history")
    odd = [{"kind": "null", "path": f"/api/v1/{name}", "times": 0} for name in names]
    plan(exchange, [*odd, {"kind": "null", "method": "GET", "path": "/api/v1/orders/", "times": 0}])
    code, told, said = command(exchange, state, "kill", *keys(state))
    plan(exchange, [])
    assert (code, told["flat"]) == (0, True), (told, said)
    assert flat(exchange)


def test_orders_that_make_no_sense_do_not_keep_a_position_open(
    exchange: Simulator, state: Path
) -> None:
    odd = {"kind": "null", "method": "GET", "times": 4}
    plan(exchange, [{**odd, "path": path} for path in ORDER_LISTS])
    code, told, said = command(exchange, state, "kill", *keys(state))
    plan(exchange, [])
    assert (code, told["flat"]) == (0, True), (told, said)
    assert said.index("at the market") < said.index("trying again")
    assert flat(exchange)


def test_close_takes_one_position_and_leaves_the_rest(exchange: Simulator, state: Path) -> None:
    [held] = exchange.truth()["positions"]
    other = next(name for name in SYMBOLS.split(",") if name != held["symbol"])
    exchange.ask("outside", {"do": "enter", "symbol": other, "side": 1, "contracts": 5})
    exchange.advance(STEP_MS)
    code, told, _ = command(exchange, state, "close", held["symbol"], *keys(state))
    assert (code, told["flat"], told["closed"]) == (0, True, [held["symbol"]])
    assert [p["symbol"] for p in exchange.truth()["positions"]] == [other]
    assert Latches(state / "latches").read() is None


def test_a_bot_that_has_closed_its_own_does_not_call_an_account_flat_that_is_not(
    exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    with in_a_trade(exchange, tmp_path / "s") as drill:
        [held] = exchange.truth()["positions"]
        enter_the_same(drill, held)
        request = asked(drill, "kill")
        drill.run_bars(1)
        told = newest(request)
        [left] = exchange.truth()["positions"]
        assert left["contracts"] == held["contracts"]
        assert drill.state.held == []
        assert (told["done"], told["flat"], told["left"]) == (True, False, [held["symbol"]])
        assert "stop the bot" in told["note"]
    credentials_folder(tmp_path / "keys")
    code, told, said = command(exchange, tmp_path / "s", "kill", *keys(tmp_path / "s"))
    assert (code, told["flat"]) == (0, True), said
    assert flat(exchange)


def test_a_bot_that_cannot_read_the_account_does_not_call_it_flat(
    exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its books are empty, and a person has traded since the exchange was last reached."""
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path / "locks"))
    with in_a_trade(exchange, tmp_path / "s") as drill:
        [held] = exchange.truth()["positions"]
        drill.kill()
        plan(exchange, [{"kind": "outage"}])
        drill.run_bars(1)
        enter_the_same(drill, held)
        request = asked(drill, "kill")
        drill.run_bars(1)
        assert not any(one.get("done") for one in request.answers.queue)
        plan(exchange, [])
        drill.run_bars(1)
        told = newest(request)
        assert (told["done"], told["flat"], told["left"]) == (True, False, [held["symbol"]])
        exchange.ask("outside", {"do": "close", "symbol": held["symbol"]})


def untouched(exchange: Simulator, state: Path, order: str) -> None:
    """See that positions rest under their stops, and that a kill is latched all the same."""
    truth = exchange.truth()
    assert truth["positions"]
    assert any(order["role"] == "stop" for order in truth["orders"])
    assert (Latches(state / "latches").read() is not None) == (order == "kill")


def words(exchange: Simulator, order: str) -> list[str]:
    [held] = exchange.truth()["positions"]
    return [order, held["symbol"]] if order == "close" else [order]


@pytest.mark.parametrize("order", ["kill", "close"])
def test_without_a_key_it_says_so_and_the_latch_holds(
    exchange: Simulator, state: Path, order: str
) -> None:
    code, told, _ = command(exchange, state, *words(exchange, order))
    assert (code, told["code"], told["flat"]) == (77, 77, False)
    assert "--credentials DIR" in told["note"]
    assert "or close by hand on the exchange's own page" in told["note"]
    untouched(exchange, state, order)


@pytest.mark.parametrize("order", ["kill", "close"])
def test_a_key_that_the_exchange_does_not_accept_is_said_at_once(
    exchange: Simulator, state: Path, order: str
) -> None:
    (state.parent / "keys" / "kucoin_passphrase").write_text("another\n", encoding="ascii")
    began = time.monotonic()
    code, told, said = command(exchange, state, *words(exchange, order), *keys(state))
    assert time.monotonic() - began < TRY_FOR_S / 2.0
    assert (code, told["code"], told["flat"]) == (77, 77, False)
    assert "the passphrase or the secret does not belong to the API key" in told["note"]
    assert "or close by hand on the exchange's own page" in told["note"]
    assert "trying again" not in said
    assert "closing it all the same" not in said
    untouched(exchange, state, order)


@pytest.mark.parametrize("order", ["kill", "close"])
def test_another_key_is_refused(exchange: Simulator, state: Path, order: str) -> None:
    (state.parent / "keys" / "kucoin_key").write_text("key-of-another\n", encoding="ascii")
    code, told, said = command(exchange, state, *words(exchange, order), *keys(state))
    assert (code, told["code"]) == (2, 2)
    assert told["note" if order == "kill" else "error"] == (
        f"{state}: expected the API key of this account, was another: nothing was closed; give "
        "--credentials the folder of the key it was founded with, or close by hand on the "
        "exchange's own page"
    )
    assert told.get("latched") is (True if order == "kill" else None)
    assert "key-of-another" not in said
    untouched(exchange, state, order)
