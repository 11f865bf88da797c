"""`radbot paper --state` as a real process: killed, stopped, doubled, commanded."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.adapters.latches import Latches
from bot.core.codec import encode
from bot.core.kernel.records import Trade
from bot.shell.daemon import EXTEND_S
from tests.support.counts import Count
from tests.support.processes import PATIENCE_S, Bot, real_bot


@pytest.fixture
def bot() -> Iterator[Bot]:
    with real_bot() as made:
        yield made


def test_a_killed_bot_goes_on_and_can_be_killed_by_the_switch(bot: Bot) -> None:
    process = bot.start()
    before = bot.until(lambda told: told["positions"])
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    down = bot.status()
    assert down["source"] == "journal"
    assert down["cycles"] >= before["cycles"]
    bot.start()
    bot.until(lambda told: told["cycles"] > down["cycles"] and told["positions"])
    killed = bot.command("kill", "--yes", "--reason", "drill")
    assert killed.returncode == 0, killed.stderr
    flat = bot.until(lambda told: told["mode"] == "FLATTEN")
    assert flat["positions"] == []
    assert Latches(bot.state / "latches").read() is not None
    assert bot.command("resume", "--reason", "drill over").returncode == 0
    assert bot.status()["mode"] == "RUN"
    assert Latches(bot.state / "latches").read() is None


def test_a_bot_that_hangs_is_flattened_without_it_and_stays_flat(bot: Bot) -> None:
    process = bot.start()
    bot.until(lambda told: told["positions"])
    os.kill(process.pid, signal.SIGSTOP)
    killed = bot.command("kill", "--yes", "--timeout", "1")
    assert killed.returncode == 0, killed.stderr
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    bot.start()
    told = bot.status()
    assert told["mode"] == "FLATTEN"
    assert told["positions"] == []


def test_a_second_bot_is_refused_and_the_first_stops_in_order(bot: Bot) -> None:
    process = bot.start()
    second = bot.command("paper", "--metrics-port", "0")
    assert second.returncode == 75
    assert f"process {process.pid}" in second.stderr
    cycles = bot.status()["cycles"]
    bot.until(lambda told: told["cycles"] > cycles)  # the first one trades on
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def test_two_directories_of_one_account_have_one_bot(bot: Bot) -> None:
    bot.start()
    other = bot.state.parent / "other"
    other.mkdir()
    (other / "paper.sqlite3").symlink_to(bot.state / "paper.sqlite3")
    bot.state = other
    second = bot.command("paper", "--metrics-port", "0")
    assert second.returncode == 75
    assert "another radbot trades here" in second.stderr


def test_trades_are_the_same_with_and_without_the_bot(bot: Bot) -> None:
    bot.start().send_signal(signal.SIGTERM)
    assert bot.processes[-1].wait(PATIENCE_S) == 0
    with closing(sqlite3.connect(bot.state / "journal.sqlite3")) as db, db:
        db.execute("DELETE FROM trades")
        for n in range(1, 251):
            trade = Trade(n, n + 1, 0, 1, 1, 5.0, 5.0, 100.0, 101.0, 0.6, 0.0, 4.4, reason=4)
            db.execute("INSERT INTO trades VALUES (?, ?, ?)", (n, n, json.dumps(encode(trade))))

    def asked() -> tuple[str, list[int]]:
        told = json.loads(bot.command("trades", "--last", "500", "--json").stdout)
        return told["source"], [trade["entry_time"] for trade in told["trades"]]

    assert asked() == ("journal", list(range(1, 251)))
    bot.start()
    source, times = asked()
    assert (source, times[:250]) == ("bot", list(range(1, 251)))


def test_another_market_is_refused_in_a_directory_that_has_one(bot: Bot) -> None:
    process = bot.start()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    other = bot.command("paper", "--seed", "3", "--metrics-port", "0")
    assert other.returncode == 2
    assert "expected the market with seed 3, was one with seed 16; use another" in other.stderr


def test_a_port_in_use_is_said(bot: Bot) -> None:
    with subprocess.Popen(  # a server of our own holds the port
        [
            sys.executable,
            "-c",
            "import socket,sys; s=socket.create_server(('127.0.0.1',0));"
            "print(s.getsockname()[1],flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        port = holder.stdout.readline().strip()
        done = bot.command("paper", "--metrics-port", port)
        holder.kill()
    assert done.returncode == 75  # a service is started again
    assert f"expected a free port on 127.0.0.1, was {port}" in done.stderr


def test_commands_say_what_is_missing(bot: Bot) -> None:
    assert bot.command("resume").returncode == 2
    assert bot.command("kill", "--yes").returncode == 2
    bot.state.mkdir()
    assert bot.command("positions").returncode in (2, 75)


@contextmanager
def service_manager(bot: Bot) -> Iterator[Callable[[str], float]]:
    """Yield what waits for a message of the bot and returns the seconds that took."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(bot.state.parent / "n"))
        manager.settimeout(PATIENCE_S)

        def wait(message: str) -> float:
            began = time.monotonic()
            while manager.recv(4096).decode() != message:
                pass
            return time.monotonic() - began

        bot.env["NOTIFY_SOCKET"] = str(bot.state.parent / "n")
        yield wait
        del bot.env["NOTIFY_SOCKET"]
        (bot.state.parent / "n").unlink()


def test_a_restart_is_ready_within_five_seconds_with_an_open_position(bot: Bot) -> None:
    seconds: list[float] = []
    while len(seconds) < 3 and min(seconds, default=5.0) >= 5.0:  # the machine may be busy
        bot.kill_in_a_position()
        with service_manager(bot) as wait:
            process = bot.spawn()
            began = time.monotonic()
            wait(f"EXTEND_TIMEOUT_USEC={int(EXTEND_S * 1e6)}")
            wait("READY=1")
            seconds.append(time.monotonic() - began)
            told = bot.until(lambda told: told["source"] == "bot" and told["ready"])
            assert all(p["covered"] >= p["contracts"] for p in told["positions"])
            process.send_signal(signal.SIGTERM)
            wait("STOPPING=1")
            assert process.wait(PATIENCE_S) == 0
    Count("restart to READY with an open position").add(ms=int(min(seconds) * 1000.0))
    assert min(seconds) < 5.0


@pytest.mark.parametrize("output", ["a reader that went away", "a full disk"])
def test_a_bot_whose_output_breaks_trades_on_and_ends_in_order(bot: Bot, output: str) -> None:
    if output == "a full disk":
        with Path("/dev/full").open("w") as full:
            process = bot.spawn(stdout=full)
    else:
        process = bot.spawn(stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.close()
    told = bot.until(lambda told: told["source"] == "bot" and told["positions"])
    bot.until(lambda later: later["source"] == "bot" and later["cycles"] > told["cycles"])
    assert (bot.state.parent / "logs" / "bot.log").read_text(encoding="utf-8")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_positions_are_closed_at_a_stop_where_that_is_set(bot: Bot) -> None:
    process = bot.start("--set", "on_stop=close")
    bot.until(lambda told: told["positions"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    told = bot.status()
    assert (told["source"], told["positions"], told["orders"]) == ("journal", [], [])
    assert told["mode"] == "RUN"
    done = bot.command_of("replay", str(bot.state))
    assert done.returncode == 0, done.stderr


def test_an_abort_of_the_watchdog_leaves_every_stack(bot: Bot) -> None:
    process = bot.start()
    process.send_signal(signal.SIGABRT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in said
    assert "in serve_forever" in said  # of the threads, too
    assert "daemon.py" in said


def test_what_is_bad_input_for_a_person_ends_a_service_for_good(bot: Bot) -> None:
    bad = ("paper", "--metrics-port", "0", "--set", "risk.max_positions=0", "--json")
    done = bot.command(*bad)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["code"] == 2
    assert "risk.max_positions" in told["error"]
    bot.env["NOTIFY_SOCKET"] = str(bot.state.parent / "nobody")
    done = bot.command(*bad)
    assert done.returncode == 78
    assert json.loads(done.stdout)["code"] == 78
    unknown = bot.command("paper", "--no-such-option")
    assert unknown.returncode == 78
    assert "unrecognized arguments: --no-such-option" in unknown.stderr
    config = bot.state.parent / "bad.yml"
    config.write_text("risk: {max_positions: 0}\n", encoding="utf-8")
    assert bot.command_of("validate-config", str(config)).returncode == 2
    bot.env["WATCHDOG_USEC"] = "7000000"
    done = bot.command("paper", "--metrics-port", "0", "--json")
    assert done.returncode == 78
    assert "expected WatchdogSec=20" in json.loads(done.stdout)["error"]


EARLY = """
import os, runpy, signal, sys, types
cli = types.ModuleType("bot.shell.cli")
def main():
    os.kill(os.getpid(), signal.SIGHUP)
    from bot.shell.stop import Stop
    with Stop() as stop:
        return 3 if stop.reload else 4
cli.main = main
sys.modules["bot.shell.cli"] = cli
runpy.run_module("bot", run_name="__main__")
"""


def test_a_reload_that_comes_before_the_bot_is_there_is_kept_for_it(bot: Bot) -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], env=bot.env, check=False, timeout=60)
    assert done.returncode == 3


def test_a_configuration_is_reloaded_whole_or_not_at_all(bot: Bot) -> None:
    bot.state.mkdir()
    config = bot.state.parent / "radbot.yml"
    config.write_text("risk:\n  max_positions: 3\n", encoding="utf-8")
    process = bot.start("--config", str(config))
    reader = JournalReader(bot.state / "journal.sqlite3")

    def reloads() -> list[str]:
        return [one["text"] for one in reader.incidents(50) if one["kind"] == "reload"]

    with closing(reader):
        config.write_text("risk:\n  max_positions: none of them\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        for line in process.stderr:
            if "reload refused, the old configuration stays" in line:
                break
        assert reloads() == []
        config.write_text("symbols: [BTC-USDT-PERP]\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        for line in process.stderr:
            if "symbols need a restart" in line:
                break
        assert reloads() == []
        config.write_text("risk:\n  max_positions: 1\n", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        bot.until(lambda told: reloads())
        assert "is in force" in reloads()[0]
    assert bot.status()["source"] == "bot"  # SIGHUP ends nothing
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    done = bot.command_of("replay", str(bot.state))
    assert done.returncode == 0, done.stderr


def test_under_a_service_manager_the_log_is_json(bot: Bot) -> None:
    bot.env["JOURNAL_STREAM"] = "8:1234"
    process = bot.start()
    assert process.stderr is not None
    told = [json.loads(process.stderr.readline()) for _ in range(3)]
    assert {one["logger"] for one in told} == {"radbot.notices"}
    assert {"time", "level", "message", "kind", "symbol", "market_ms"} <= set(told[0])
    assert told[0]["symbol"].endswith("-USDT-PERP")
    assert not (bot.state.parent / "logs").exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
