"""`radbot paper --state` as a real process, when something is wrong: odd words of a person, a
damaged journal, starts that have failed, a close of what is not held while the bot hangs.
"""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from bot.adapters.latches import Latches
from bot.shell.state_folder import FAILED_STARTS
from tests.support.processes import PATIENCE_S, Bot, real_bot

ODD = "Stra\udcdfe"  # a byte of another encoding, as the command line brings it


@pytest.fixture
def bot() -> Iterator[Bot]:
    with real_bot() as made:
        yield made


def test_words_that_are_no_utf8_hurt_nobody(bot: Bot) -> None:
    process = bot.start()
    halted = bot.command("halt", "--reason", ODD)
    assert (halted.returncode, "Stra?e" in halted.stdout) == (0, True), halted.stderr
    killed = bot.command("kill", "--yes", "--reason", ODD)
    assert killed.returncode == 0, killed.stderr
    assert process.poll() is None
    latch = Latches(bot.state / "latches").read()
    assert latch is not None
    assert latch.reason == "Stra?e"
    process.kill()
    process.wait()
    bot.start()
    assert bot.status()["mode"] == "FLATTEN"
    resumed = bot.command("resume", "--reason", ODD)
    assert resumed.returncode == 0, resumed.stderr
    assert bot.status()["mode"] == "RUN"


def test_a_damaged_journal_is_told_by_its_name_and_not_started_again(bot: Bot) -> None:
    process = bot.start()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    with closing(sqlite3.connect(bot.state / "journal.sqlite3", isolation_level=None)) as db:
        db.execute("UPDATE state SET body = '{' WHERE part = 'core'")
    process = bot.spawn()
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 78
    asked = bot.command("status")
    assert asked.returncode == 78
    for text in (said, asked.stdout):
        assert "journal.sqlite3: damaged" in text
    assert "Traceback" not in said + asked.stderr


def test_after_starts_that_failed_the_bot_is_up_and_halted_until_resumed(bot: Bot) -> None:
    bot.state.mkdir()
    (bot.state / FAILED_STARTS).write_text(json.dumps(["InvariantError: x", "InvariantError: x"]))
    bot.start()
    told = bot.status()
    assert told["mode"] == "HALT"
    assert [cause["cause"] for cause in told["causes"]] == ["recovery_failed"]
    assert bot.command("resume", "--reason", "looked at").returncode == 0
    assert bot.status()["mode"] == "RUN"
    assert not (bot.state / FAILED_STARTS).exists()


def test_a_close_of_what_is_not_held_lets_a_hung_bot_be(bot: Bot) -> None:
    while True:
        bot.kill_in_a_position()
        process = bot.start("--speed", "1")  # the market must not close it meanwhile
        told = bot.status()
        held = {one["symbol"] for one in told["positions"]}
        if 0 < len(held) < len(told["symbols"]):
            break
        process.kill()
        process.wait()
    os.kill(process.pid, signal.SIGSTOP)
    flat = next(name for name in told["symbols"] if name not in held)
    closed = bot.command("close", flat, "--yes", "--timeout", "0.5")
    assert closed.returncode == 0, closed.stderr
    assert f"{flat}: flat, verified" in closed.stdout
    assert "was flat: nothing was done" in closed.stdout
    assert process.poll() is None
    name = held.pop()
    closed = bot.command("close", name, "--yes", "--timeout", "0.5")
    assert closed.returncode == 0, closed.stderr
    assert f"{name}: flat, verified" in closed.stdout
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
