"""`radbot kill` when things are bad: bot running, stopped, dead; disk full; database locked.

Real processes. Each time: flat, verified on the exchange's own database, or said not to be; and
latched. The seconds are printed at the end of the run.
"""

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bot.adapters.latches import Latches
from bot.adapters.paper_store import PaperStore
from tests.support.counts import Count
from tests.support.processes import PATIENCE_S, Bot, real_bot

STAYING = (
    *("warmup_bars=20", 'strategies=["momentum"]', "momentum.period=8", "momentum.entry=0.1"),
    *("momentum.exit=-100.0", "momentum.reward=10.0", "stops.min=0.05", "stops.max=0.05"),
    "stops.trail_start=0",
)
"""settings of a bot that soon enters and does not leave: hours of its market pass between two
commands"""
FULL_MB = 32  # room for the log of a bot that has to be waited for on a busy machine


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """Mount a disk of a few megabytes on `folder`; yield what fills it to the last byte."""
    assert os.geteuid() == 0, "the drill with a full disk mounts a small one: run it as root"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={FULL_MB}m", "tmpfs", str(folder)], check=True
    )

    def fill() -> None:
        with (folder / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                return

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def in_a_position(bot: Bot) -> subprocess.Popen[str]:
    process = start(bot)
    bot.until(lambda told: told["positions"])
    return process


def start(bot: Bot) -> subprocess.Popen[str]:
    return bot.start(*(word for setting in STAYING for word in ("--set", setting)))


def kill(bot: Bot, how: str) -> None:
    """Pull the switch and see that it worked, in the books of the exchange."""
    began = time.monotonic()
    done = bot.command("kill", "--yes", "--json", "--reason", how, "--timeout", "2")
    seconds = time.monotonic() - began
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["flat"] is True
    latch = Latches(bot.state / "latches").read()
    assert latch is not None
    assert latch.reason == how
    Count(f"kill, {how}: flat and latched after").add(ms=int(seconds * 1000.0))
    assert seconds < 10.0


def try_to_kill(bot: Bot, how: str) -> bool:
    """Pull the switch where the exchange may not be able to write; what it says must be true."""
    done = bot.command("kill", "--yes", "--json", "--reason", how, "--timeout", "2")
    told = json.loads(done.stdout)
    assert (done.returncode, told["flat"]) in ((0, True), (75, False)), (done.stdout, done.stderr)
    assert told["flat"] is not any(held(bot))
    assert told["flat"] or "cannot be written" in told["note"]
    latch = Latches(bot.state / "latches").read()
    assert latch is not None
    assert latch.reason == how
    return bool(told["flat"])


def held(bot: Bot) -> list[float]:
    """Return what the exchange itself has stored, contracts of positions and of orders."""
    with closing(PaperStore(bot.state / "paper.sqlite3", durable=False)) as store:
        market = store.read("market")
    assert isinstance(market, dict)
    return [one["contracts"] for one in (*market["held"], *market["orders"])]


@pytest.fixture
def bot() -> Iterator[Bot]:
    with real_bot() as made:
        yield made


def test_running(bot: Bot) -> None:
    process = in_a_position(bot)
    kill(bot, "bot running")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert not any(held(bot))


def test_stopped(bot: Bot) -> None:
    process = in_a_position(bot)
    os.kill(process.pid, signal.SIGSTOP)
    kill(bot, "bot stopped")
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    assert not any(held(bot))


def test_dead(bot: Bot) -> None:
    process = in_a_position(bot)
    process.kill()
    process.wait()
    kill(bot, "bot dead")
    assert not any(held(bot))
    start(bot)  # what was done without it is found and booked, and it stays flat
    told = bot.status()
    assert (told["mode"], told["positions"]) == ("FLATTEN", [])


def test_disk_full_while_it_runs(bot: Bot) -> None:
    bot.state.mkdir()
    with small_disk(bot.state) as fill:
        process = in_a_position(bot)
        fill()
        kill(bot, "disk full, bot running")
        told = bot.status()
        assert (told["mode"], told["positions"]) == ("FLATTEN", [])
        assert any(cause["cause"] == "journal_failed" for cause in told["causes"])
        (bot.state / "ballast").unlink()  # somebody makes room: nothing is lost
        bot.until(lambda told: "journal_failed" not in str(told["causes"]))
        bot.until(lambda told: not any(held(bot)))
        process.kill()
        process.wait()
        down = bot.status()
        assert (down["source"], down["positions"]) == ("journal", [])
        assert not any(held(bot))


def test_disk_full_after_it_died(bot: Bot) -> None:
    bot.state.mkdir()
    with small_disk(bot.state) as fill:
        process = in_a_position(bot)
        process.kill()
        process.wait()
        fill()
        try_to_kill(bot, "disk full, bot dead")
        (bot.state / "ballast").unlink()  # somebody makes room
        kill(bot, "disk full, bot dead")
        assert not any(held(bot))
        start(bot)
        told = bot.status()
        assert (told["mode"], told["positions"]) == ("FLATTEN", [])
        bot.processes[-1].kill()
        bot.processes[-1].wait()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10.0)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        yield
        blocker.execute("ROLLBACK")


def test_account_locked_while_it_runs(bot: Bot) -> None:
    """The exchange goes on in memory and writes when it can again."""
    process = in_a_position(bot)
    with locked(bot.state / "paper.sqlite3"):
        kill(bot, "account locked, bot running")
        assert any(held(bot))
        told = bot.status()
        assert (told["source"], told["mode"], told["positions"]) == ("bot", "FLATTEN", [])
    bot.until(lambda told: not any(held(bot)))
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert not any(held(bot))


def test_account_locked_after_it_died(bot: Bot) -> None:
    process = in_a_position(bot)
    process.kill()
    process.wait()
    with locked(bot.state / "paper.sqlite3"):
        assert not try_to_kill(bot, "account locked, bot dead")
    assert any(held(bot))
    kill(bot, "account locked, bot dead")
    assert not any(held(bot))


@pytest.mark.parametrize("alive", [True, False])
def test_journal_locked(bot: Bot, alive: bool) -> None:
    process = in_a_position(bot)
    if not alive:
        process.kill()
        process.wait()
    with locked(bot.state / "journal.sqlite3"):
        kill(bot, f"journal locked, bot {'running' if alive else 'dead'}")
    if alive:
        told = bot.until(lambda told: "journal_failed" not in str(told["causes"]))
        assert (told["mode"], told["positions"]) == ("FLATTEN", [])
        process.kill()
        process.wait()
    assert not any(held(bot))
