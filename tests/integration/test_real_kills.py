"""kill -9 of the real `radbot paper` at random moments, those of its start included.

One account lives through many kills. The dead bot's directory is copied and recovered on the spot:
books and exchange must agree, on what a kill leaves behind. The bot itself goes on with the
directory as it is; when it is ready it is halted between two turns, and compared from outside.
"""

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.shell.config import load_config
from bot.shell.paper import synthetic_source
from tests.support.counts import CHAOS, Count
from tests.support.folder import check_folder, check_starts
from tests.support.lasting import check_told, recovered
from tests.support.notify_socket import NotifySocket
from tests.support.processes import PATIENCE_S, Bot, real_bot

SEED = 39
KILLS = 10 * CHAOS
KILLS_EACH = 10
"""of one account: its exchange remembers 2,000 fills, its journal the states of 40 starts"""
SPEED = 7_200
LIFE = 3.0
"""a bot lives at most so many times as long as its last start took"""
SETTINGS = [
    # A trade every other bar: a random moment is often one in the middle of an order.
    *('symbols=["BTC-USDT-PERP","ETH-USDT-PERP","SOL-USDT-PERP"]', "strategies=[momentum]"),
    *("momentum.period=2", "momentum.entry=0.5", "momentum.exit=0.3"),
    *("warmup_bars=5", "regime.slow=30"),
    # Whatever that costs, it is traded on.
    *("risk.drawdown_limit=0.9", "risk.fast_drawdown_limit=0.9", "risk.daily_loss_limit=0.9"),
]
MISTAKES = {
    *("stray_order", "foreign_order", "external_position_change", "equity_jump"),
    *("recovery_failed", "event_left_out", "journal_failed"),
}
"""what a bot tells whose books were not those of its exchange"""
CONFIG = load_config(None, SETTINGS)
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, CONFIG.paper.seed, None)
TRIED = Count(f"kill -9 of real processes at random moments, seed {SEED}")


def says(process: subprocess.Popen[str], message: str) -> Callable[[int, str], bool]:
    return lambda pid, text: (pid, text) == (process.pid, message)


def last_words(process: subprocess.Popen[str]) -> str:
    """End a bot that does not do as it should; return what it has said."""
    process.kill()
    assert process.stderr is not None
    return process.stderr.read()


class Victim:
    """One account, and the processes that trade it one after the other."""

    def __init__(self, bot: Bot) -> None:
        self.bot, self.state = bot, bot.state
        self.inbox = NotifySocket(bot.state.parent)
        bot.env |= {"NOTIFY_SOCKET": self.inbox.address, "WATCHDOG_USEC": "20000000"}
        self.start_s = 1.0

    def start(self) -> subprocess.Popen[str]:
        settings = (f"--set={one}" for one in SETTINGS)
        return self.bot.spawn("--speed", str(SPEED), *settings)

    def live(self, life_s: float) -> bool:
        """Start the bot, and kill it after so long; return whether it was ready by then."""
        process, began = self.start(), time.monotonic()
        end = began + life_s
        if ready := self.inbox.until(says(process, "READY=1"), end):
            self.start_s = time.monotonic() - began
            self.check_halted(process)
        self.kill(process, end)
        return ready

    def kill(self, process: subprocess.Popen[str], end: float) -> None:
        """Kill the bot at monotonic `end`; it must not have ended by itself."""
        ended = os.pidfd_open(process.pid)
        left = max(0.0, end - time.monotonic())
        assert select.select([ended], [], [], left)[0] == [], last_words(process)
        os.close(ended)
        process.kill()
        process.wait()

    def check_halted(self, process: subprocess.Popen[str]) -> None:
        """Halt the bot between two turns and compare its books with its exchange.

        A ping is the end of a turn; a bot that has begun another one by now is let go on.
        """
        patience = time.monotonic() + PATIENCE_S
        while True:
            self.inbox.heard()
            assert self.inbox.until(says(process, "WATCHDOG=1"), patience), last_words(process)
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            try:
                check_folder(self.state)
                return
            except AssertionError:
                if time.monotonic() > patience:
                    raise
            finally:
                process.send_signal(signal.SIGCONT)

    def check_left_behind(self, copy: Path) -> None:
        """Recover a copy of what the killed bot has left; books and exchange must agree."""
        if not self.state.exists():
            return  # it was killed before it had done anything
        shutil.copytree(self.state, copy, ignore=shutil.ignore_patterns("control.sock"))
        bot = recovered(CONFIG, SOURCE, copy)
        bot.close(clean=True)
        check_folder(copy)
        shutil.rmtree(copy)

    def end(self) -> None:
        """Let the bot trade once more, end it in order, and look at everything it leaves behind."""
        process = self.start()
        assert self.inbox.until(says(process, "READY=1")), last_words(process)
        self.check_halted(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        check_folder(self.state)
        check_told(self.state, SOURCE.symbols)
        with closing(JournalReader(self.state / "journal.sqlite3")) as reader:
            mistakes = [one for one in reader.incidents(1_000) if one["kind"] in MISTAKES]
            runs, unclean = reader.runs()
            trades = len(reader.trades(10_000))
        assert mistakes == []
        assert unclean == runs - 1
        entered = check_starts(self.state)
        done = self.bot.command_of("replay", str(self.state))
        assert done.returncode == 0, (done.stdout, done.stderr)
        TRIED.add(accounts=1, trades=trades, starts_that_entered=entered)

    def close(self) -> None:
        self.inbox.close()


def test_kills_of_the_real_process_lose_nothing_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    rng = Random(SEED)
    with TRIED:
        for first in range(0, KILLS, KILLS_EACH):
            with real_bot() as bot, closing(Victim(bot)) as victim:
                for number in range(first, min(first + KILLS_EACH, KILLS)):
                    ready = victim.live(rng.uniform(0.0, LIFE * victim.start_s))
                    victim.check_left_behind(tmp_path / f"k{number}")
                    TRIED.add(kills=1, before_ready=int(not ready))
                victim.end()
