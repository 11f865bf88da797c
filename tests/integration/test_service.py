"""`radbot paper --state` as a real process: killed, stopped, doubled, commanded."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.adapters.latches import Latches
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


def test_another_market_is_refused_in_a_directory_that_has_one(bot: Bot) -> None:
    process = bot.start()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    other = bot.command("paper", "--seed", "3", "--metrics-port", "0")
    assert other.returncode == 2
    assert "use another --state" in other.stderr


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
    assert done.returncode == 2
    assert f"expected a free port on 127.0.0.1, was {port}" in done.stderr


def test_commands_say_what_is_missing(bot: Bot) -> None:
    assert bot.command("resume").returncode == 2
    assert bot.command("kill", "--yes").returncode == 2
    bot.state.mkdir()
    assert bot.command("positions").returncode in (2, 75)


def test_a_restart_is_ready_within_five_seconds_with_an_open_position(bot: Bot) -> None:
    process = bot.start()
    bot.until(lambda told: told["positions"])
    process.kill()
    process.wait()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(bot.state.parent / "n"))
        manager.settimeout(PATIENCE_S)
        bot.env["NOTIFY_SOCKET"] = str(bot.state.parent / "n")
        began = time.monotonic()
        bot.spawn()
        heard = manager.recv(4096).decode()
        assert heard.startswith("EXTEND_TIMEOUT_USEC=")
        while heard != "READY=1":
            heard = manager.recv(4096).decode()
        seconds = time.monotonic() - began
        del bot.env["NOTIFY_SOCKET"]
    Count("restart to READY with an open position").add(ms=int(seconds * 1000.0))
    assert seconds < 5.0
    told = bot.until(lambda told: told.get("source") == "bot" and told["ready"])
    assert all(position["covered"] >= position["contracts"] for position in told["positions"])


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
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
