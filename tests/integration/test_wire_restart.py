"""A live bot as a process that is killed and started again, and a second one on its account.

The exchange is the wire simulator in a process of its own. What is asked of it is asked on its
control port: the bot's word counts for nothing there.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.shell.config import load_config
from ops.research.bench_process import resident_mb
from tests.support.counts import Count
from tests.support.cover import all_covered
from tests.support.notify_socket import NotifySocket
from tests.support.processes import PATIENCE_S, Bot, real_bot
from tests.support.wire import Simulator, credentials_folder, simulator
from tests.support.wire_crash import MARKET
from tests.support.wire_drills import SETTINGS

SPEED = 20
READY_S = 5.0
MEMORY_MB = 110.0
KILLS = 3
LASTING = (
    *SETTINGS,
    *("stops.min=0.05", "stops.max=0.05", "warmup_bars=20"),
    *("momentum.period=8", "momentum.entry=0.1", "momentum.exit=-100.0", "momentum.reward=10.0"),
    *('symbols=["BTC-USDT-PERP"]', 'strategies=["momentum"]'),
)
"""settings of a bot that soon enters and does not leave"""
RUNNING = (*LASTING, f"exchange.speed={SPEED}")  # only beside the simulator's addresses


class LiveBot(Bot):
    """A live bot on a simulator."""

    def __init__(self, folder: Path, exchange: Simulator) -> None:
        super().__init__(folder)
        self.exchange = exchange
        self.keys = credentials_folder(folder / "keys")

    def words(self, state: Path) -> list[str]:
        settings = [word for setting in RUNNING for word in ("--set", setting)]
        where = ["--exchange", self.exchange.futures, self.exchange.spot]
        account = ["--credentials", str(self.keys), "--state", str(state)]
        return ["live", "--yes", "--metrics-port", "0", *where, *account, *settings]

    def begin(self, manager: NotifySocket) -> subprocess.Popen[str]:
        """Start a process of the bot."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *self.words(self.state)],
            env={**self.env, "NOTIFY_SOCKET": manager.address},
            cwd=self.state.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def refused(self, folder: Path, lock_folder: Path) -> tuple[int, str]:
        """Start another bot of the same account; return how it ended and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "bot", *self.words(folder)],
            env={**self.env, "RADBOT_LOCK_DIR": str(lock_folder)},
            cwd=self.state.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        return done.returncode, done.stderr


def held(exchange: Simulator) -> dict[str, int]:
    """Return by symbol how many contracts are held, all of them under stops."""
    truth = exchange.truth()
    assert truth["duplicates"] == []
    assert all_covered(truth, load_config(None, LASTING)), truth
    return {p["symbol"]: p["contracts"] for p in truth["positions"]}


@pytest.fixture
def bot() -> Iterator[LiveBot]:
    with (
        simulator(*MARKET, "--speed", str(SPEED)) as exchange,
        real_bot(lambda folder: LiveBot(folder, exchange)) as made,
    ):
        yield made


def opened(_: int, message: str) -> bool:
    return message.startswith("STATUS=") and ", 0 open" not in message


def test_a_killed_bot_is_ready_and_its_position_covered_within_five_seconds(bot: LiveBot) -> None:
    times: list[float] = []
    resident: list[float] = []
    for number in range(KILLS + 1):
        with closing(NotifySocket(bot.state.parent)) as manager:
            began = time.monotonic()
            process = bot.begin(manager)
            assert manager.until(lambda _, message: message == "READY=1")
            contracts = held(bot.exchange)
            times.append(time.monotonic() - began)
            assert contracts or number == 0
            assert manager.until(opened)
            resident.append(resident_mb(process.pid))
            if number < KILLS:
                process.kill()
                process.wait()
    told = bot.status()
    assert {p["symbol"]: p["contracts"] for p in told["positions"]} == contracts
    assert (told["mode"], told["causes"]) == ("RUN", [])
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert held(bot.exchange) == contracts
    done = bot.command_of("replay", str(bot.state))
    assert done.returncode == 0, done.stdout + done.stderr
    Count("kill -9 of a live process: ready and covered after").add(
        kills=KILLS, ms_at_most=int(1000.0 * max(times[1:])), mb_at_most=int(max(resident))
    )
    assert max(times[1:]) < READY_S, times
    assert max(resident) < MEMORY_MB, resident


def test_a_second_bot_on_the_account_refuses(bot: LiveBot) -> None:
    with closing(NotifySocket(bot.state.parent)) as manager:
        process = bot.begin(manager)
        assert manager.until(opened)
    bot.until(lambda told: told["positions"] and not told["unprotected_seconds"])
    contracts = held(bot.exchange)
    here, other = bot.state.parent, bot.state.parent / "other"
    for folder in (bot.state, other):
        code, said = bot.refused(folder, here)
        assert code == 75
        assert f"process {process.pid} since" in said
        assert f"state directory {bot.state}" in said
    # On another host nothing tells but the account itself.
    code, said = bot.refused(other, here / "locks of another host")
    assert code == 78
    assert f"the account holds {', '.join(contracts)} already" in said
    assert not (other / "account.json").exists()
    assert process.poll() is None
    assert held(bot.exchange) == contracts
