"""`radbot live` as a user starts it: real processes on a wire simulator that runs by itself."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.latches import Latches
from tests.support.live_processes import SPEED, SYMBOLS, LiveBot, live_bot
from tests.support.processes import PATIENCE_S
from tests.support.wire import KEYS, Simulator, credentials_folder, simulator

BTC, ETH = SYMBOLS.split(",")
REAL = ["https://api-futures.kucoin.com", "https://api.kucoin.com"]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    words = ["--speed", SPEED, "--symbols", SYMBOLS, "--seed", "16", "--history", "700"]
    with simulator(*words) as made:
        yield made


@pytest.fixture
def bot(exchange: Simulator) -> Iterator[LiveBot]:
    with live_bot(exchange) as made:
        yield made


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a process; return its exit code and what it said."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def stop(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGTERM)
    return ended(process)


def texts(folder: Path) -> str:
    """Return everything that is written in a folder, but the credentials."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "keys"]
    return "".join(path.read_bytes().decode("latin-1") for path in files)


# A person confirms.


@pytest.mark.parametrize("typed", ["yes", "LIVE"])
def test_whoever_does_not_type_the_word_has_done_nothing(bot: LiveBot, typed: str) -> None:
    code, out, err = ended(bot.at_a_terminal(typed))
    assert (code, out) == (2, "")
    assert f"radbot live: REAL MONEY on {bot.exchange.futures} (a simulator)" in err
    for said in (f"{BTC}, {ETH}", "daily loss 10 %", str(bot.state), 'Type "live" to trade: '):
        assert said in err
    assert err.endswith("nothing was done\n")
    assert not bot.state.exists()
    assert bot.exchange.truth()["requests"] == {}


def test_a_typed_word_starts_it_and_a_stop_leaves_positions_under_their_stops(
    bot: LiveBot,
) -> None:
    process = bot.at_a_terminal("live", "--override-reason", "first week")
    bot.held()
    code, out, err = stop(process)
    assert code == 0, err
    assert err.count("warning: live without a GO verdict, by ") == 1
    told = [json.loads(path.read_bytes()) for path in (bot.state / "outbox").glob("*.json")]
    assert [one["body"].partition(": ")[2] for one in told if one["kind"] == "override"] == [
        "first week"
    ]
    assert "opened" in out
    assert "stopped: open positions stay as they are, under their stops" in out
    assert "Final equity" in out
    assert "ready: wallet 10,000.00 USDT, 0 open, mode RUN" in err
    truth = bot.exchange.truth()
    stops = {order["symbol"]: order for order in truth["orders"] if order["role"] == "stop"}
    assert truth["positions"]
    for position in truth["positions"]:
        covered = stops[position["symbol"]]
        assert covered["contracts"] == position["contracts"]
        assert covered["reduce_only"]

    again = bot.start("--json", "--for", "1d")
    told = bot.status()
    assert {p["symbol"] for p in told["positions"]} <= {p["symbol"] for p in truth["positions"]}
    code, out, err = stop(again)
    assert code == 0, err
    told = json.loads(out)
    assert told["symbols"] == [BTC, ETH]
    assert told["funding_source"] == told["spec_source"] == "exchange"
    done = bot.command_of("replay", str(bot.state))
    assert done.returncode == 0, done.stderr


# People and the running bot.


def test_people_look_close_halt_and_resume(bot: LiveBot) -> None:
    bot.start()
    position = bot.held()["positions"][0]
    bot.until(lambda told: told["positions"])
    halted = bot.command("halt", "--reason", "a look at the exchange")
    assert halted.returncode == 0, halted.stderr
    assert "mode HALT: a look at the exchange" in halted.stdout
    seen = bot.command("positions")
    assert position["symbol"].removesuffix("-USDT-PERP") in seen.stdout
    assert "stop" in seen.stdout
    told = json.loads(bot.command("status", "--json").stdout)
    assert (told["source"], told["mode"]) == ("bot", "HALT")
    for held in told["positions"]:
        closed = bot.command("close", held["symbol"], "--yes", "--json")
        assert closed.returncode == 0, closed.stderr
        outcome = json.loads(closed.stdout)
        assert (outcome["flat"], outcome["through"]) == (True, "bot")
    truth = bot.exchange.truth()
    assert (truth["positions"], truth["orders"]) == ([], [])
    resumed = bot.command("resume", "--reason", "looked")
    assert resumed.returncode == 0, resumed.stderr
    assert bot.status()["mode"] == "RUN"
    assert Latches(bot.state / "latches").read() is None


# What it refuses before it asks anybody.

REFUSED = [
    ([], "expected a terminal to confirm on, or --yes, was neither"),
    (["--yes"], "expected a GO verdict of the gate"),
    (["--yes", "--strategies", "ema_cross"], "ema_cross is the reference for comparing engines"),
    (["--yes", "--exchange", *REAL], "exchange: expected a simulator on this machine"),
    (["--yes", "--symbols", "bitcoin"], "expected a name like BTC-USDT-PERP"),
    (["--yes", "--set", "exchange.futures_url=http://example.com"], "expected https"),
    (["--yes", "--for", "a while"], "duration: expected a number with s, m, h or d"),
    (["--yes", "--metrics-port", "65536"], "--metrics-port: expected 0 to 65535, was '65536'"),
    (["--yes", "--set", "exchange.speed=20"], "expected 1 against https://api-futures.kucoin.com"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_it_refuses(bot: LiveBot, words: list[str], said: str) -> None:
    """Whatever it is told here, it stops before it asks the real exchange for anything."""
    override = [] if "GO verdict" in said else ["--override-reason", "a test"]
    where = ["--credentials", str(bot.keys), "--state", str(bot.state), *override]
    done = bot.run("live", *where, *words)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr
    assert not bot.state.exists()


@pytest.mark.parametrize("value", ["true", "on"])
def test_test_mode_allows_paper_only(value: str, bot: LiveBot) -> None:
    done = bot.live("--yes", TEST_MODE=value)
    assert done.returncode == 2
    assert f"TEST_MODE is set ({value}), which allows paper trading only" in done.stderr
    assert bot.exchange.truth()["requests"] == {}


def test_every_credential_that_is_not_usable_is_named(bot: LiveBot) -> None:
    key, secret, passphrase = (bot.keys / f"kucoin_{n}" for n in ("key", "secret", "passphrase"))
    key.write_text("")
    secret.chmod(0o644)
    passphrase.unlink()
    done = bot.live("--yes")
    assert done.returncode == 77
    assert f"{key}: expected one line of text, was empty" in done.stderr
    assert f"{secret}: expected mode 0600 or less, was 0644: chmod 600 {secret}" in done.stderr
    assert f"{passphrase}: expected a readable file, was: No such file" in done.stderr
    assert KEYS.secret not in done.stderr
    assert not bot.state.exists()


def test_without_credentials_it_says_what_it_needs(bot: LiveBot) -> None:
    words = bot.words("--yes")
    at = words.index("--credentials")
    done = bot.command_of(*words[:at], *words[at + 2 :])
    assert done.returncode == 77
    for said in ("--credentials DIR", "systemd", "kucoin_key, kucoin_secret, kucoin_passphrase"):
        assert said in done.stderr


# What the exchange refuses.


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("key", "KuCoin does not know the API key; was it deleted or mistyped?; KuCoin 400003"),
        ("secret", "the passphrase or the secret does not belong to the API key; KuCoin 400004"),
        (
            "passphrase",
            "the passphrase or the secret does not belong to the API key; KuCoin 400004",
        ),
    ],
)
def test_a_key_that_is_not_accepted_is_said_and_nothing_of_it(
    bot: LiveBot, name: str, said: str
) -> None:
    (bot.keys / f"kucoin_{name}").write_text("mistyped-and-wrong\n")
    done = bot.live("--yes", "--override-reason", "a test")
    assert done.returncode == 77
    assert f"radbot: {said}" in done.stderr
    assert "Traceback" not in done.stderr
    # Nothing has been overridden, and nobody else looks into the folder.
    assert "without a GO verdict" not in done.stderr
    assert not (bot.state / "outbox").exists()
    assert bot.state.stat().st_mode & 0o777 == 0o750
    told = done.stdout + done.stderr + texts(bot.state.parent)
    for secret in ("mistyped-and-wrong", KEYS.secret, KEYS.passphrase, KEYS.key):
        assert secret not in told
    assert "POST /api/v1/orders" not in bot.exchange.truth()["requests"]


def test_an_address_that_the_key_is_not_bound_to_is_explained(bot: LiveBot) -> None:
    bot.exchange.ask("market", {"do": "address", "enabled": False})
    done = bot.live("--yes")
    assert done.returncode == 77
    said = "radbot: the API key is bound to another address than this host's: add this host's"
    assert said in done.stderr
    assert "KuCoin 400006: Invalid request ip" in done.stderr
    assert not (bot.state / "account.json").exists()


def test_an_account_is_refused_for_all_reasons_at_once(bot: LiveBot) -> None:
    changes: list[dict[str, Any]] = [
        {"do": "account", "mode": "UNIFIED"},
        {"do": "position_mode", "mode": 1},
        {"do": "margin_mode", "symbol": ETH, "mode": "CROSS"},
        {"do": "withdrawal", "enabled": True},
        {"do": "pause", "symbol": BTC},
    ]
    for change in changes:
        bot.exchange.ask("market", change)
    bot.exchange.ask("outside", {"do": "transfer", "amount": -9_950.0})
    done = bot.live("--yes", "--symbols", f"{SYMBOLS},SOL-USDT-PERP")
    assert done.returncode == 78
    assert done.stderr == (
        "radbot: live trading is refused, no position was opened:\n"
        "  - the account is in hedge mode: switch it to one-way mode (Futures, Preferences, "
        "Position mode) while it is flat\n"
        f"  - {ETH}: margin mode is CROSS: set it to isolated on the exchange\n"
        "  - SOL-USDT-PERP: KuCoin Futures does not list it: take it out of `symbols`\n"
        "  - this is a unified account (UTA), which is not supported yet: use a sub-account of the "
        "classic kind, or wait for a release that names unified accounts in its changelog\n"
        f"  - {BTC}: the contract is Paused, not Open: take it out of `symbols`\n"
        "  - balance is 50.00 USDT, below risk.min_balance 100.00: transfer money to the futures "
        "account\n"
        "  - the API key may withdraw (KuCoin lists that right as Transfer): make one with the "
        "rights General and Futures only\n"
    )
    assert not (bot.state / "account.json").exists()
    assert "POST /api/v1/orders" not in bot.exchange.truth()["requests"]


def test_a_position_that_is_there_already_is_not_taken_over(bot: LiveBot) -> None:
    for symbol in (BTC, ETH):
        wish = {"do": "enter", "symbol": symbol, "side": 1, "contracts": 2}
        bot.exchange.ask("outside", wish)
    while len(bot.exchange.truth()["positions"]) < 2:
        pass
    done = bot.live("--yes", "--symbols", BTC)
    assert done.returncode == 78
    assert f"the account holds {BTC}, ETHUSDTM already: close that first" in done.stderr
    assert len(bot.exchange.truth()["positions"]) == 2
    assert "POST /api/v1/orders" not in bot.exchange.truth()["requests"]


# One state directory, one account.


def test_a_state_directory_belongs_to_one_account_and_one_bot(bot: LiveBot) -> None:
    process = bot.start()
    second = bot.live("--yes", "--state", str(bot.state.parent / "other"))
    assert second.returncode == 75
    assert f"process {process.pid}" in second.stderr
    assert stop(process)[0] == 0
    asked = bot.exchange.truth()["requests"]
    other = credentials_folder(bot.state.parent / "others")
    (other / "kucoin_key").write_text("another-key\n")
    for words, said in (
        (["--credentials", str(other)], "expected the API key it was founded with, was another"),
        (["--exchange", NOWHERE, NOWHERE], f"expected the exchange {bot.exchange.futures}, was "),
        (["--symbols", BTC], f"expected the symbols {BTC}, {ETH}, was {BTC}; use another --state"),
    ):
        done = bot.live("--yes", *words)
        assert done.returncode == 2
        assert said in done.stderr
        assert "use another --state" in done.stderr
        assert "another-key" not in done.stderr
    paper = bot.command("paper", "--metrics-port", "0")
    assert paper.returncode == 2
    assert "expected no live bot, was one (account.json): use another --state" in paper.stderr
    assert bot.exchange.truth()["requests"] == asked
    (bot.state.parent / "p").mkdir()
    (bot.state.parent / "p" / "paper.sqlite3").touch()
    done = bot.live("--yes", "--state", str(bot.state.parent / "p"))
    assert done.returncode == 2
    assert "expected no paper bot, was one (paper.sqlite3): use another --state" in done.stderr


# The line.


def test_a_clock_that_is_off_is_measured_anew(bot: LiveBot) -> None:
    bot.start()
    before = bot.exchange.truth()["requests"]["GET /api/v1/timestamp"]
    bot.exchange.ask("faults", {"faults": [{"kind": "skew", "ms": 30_000}]})
    cycles = bot.status()["cycles"]
    told = bot.until(lambda told: told["cycles"] >= cycles + 2)
    assert told["mode"] == "RUN"
    assert bot.exchange.truth()["requests"]["GET /api/v1/timestamp"] > before


def test_a_first_start_needs_the_exchange(bot: LiveBot) -> None:
    bot.exchange.ask("faults", {"faults": [{"kind": "outage"}]})
    done = bot.live("--yes")
    assert done.returncode == 75
    assert "radbot: the exchange cannot be reached, and a first start needs it" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bot.state / "account.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_first_start_that_is_stopped_while_it_waits_ends_in_order(
    bot: LiveBot, number: signal.Signals
) -> None:
    bot.exchange.ask("faults", {"faults": [{"kind": "outage"}]})
    process = bot.spawn()
    assert process.stderr is not None
    assert any("exchange: cannot be reached" in line for line in process.stderr)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == 0, err
    assert "radbot: stopped before it had begun: the exchange cannot be reached" in err
    assert "Traceback" not in err
    assert not (bot.state / "account.json").exists()


def test_a_later_start_without_the_exchange_is_halted_until_it_is_back(bot: LiveBot) -> None:
    process = bot.start()
    held = bot.held()["positions"][0]["symbol"]
    process.kill()
    process.wait()
    bot.exchange.ask("faults", {"faults": [{"kind": "outage"}]})
    again = bot.spawn()
    told = bot.until(lambda told: told["mode"] == "HALT")
    assert "exchange_unreachable" in [cause["cause"] for cause in told["causes"]]
    assert held in [position["symbol"] for position in told["positions"]]
    bot.exchange.ask("faults", method="DELETE")
    told = bot.until(lambda told: told["mode"] == "RUN" and told["ready"])
    for position in told["positions"]:
        assert position["covered"] >= position["contracts"]
    code, _, err = stop(again)
    assert code == 0
    assert "exchange: reached again" in err
    assert bot.exchange.truth()["duplicates"] == []
