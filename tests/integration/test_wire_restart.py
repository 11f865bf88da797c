"""A live bot as a process that is killed and started again, and two bots on one account.

The exchange is the wire simulator in a process of its own. What is asked of it is asked on its
control port: the bot's word counts for nothing there.
"""

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.core.messages import Command, Operator
from bot.core.modes import Cause
from ops.research.bench_process import resident_mb
from tests.support.counts import Count
from tests.support.cover import MOST_UNCOVERED_MS
from tests.support.notify_socket import NotifySocket
from tests.support.processes import PATIENCE_S, Bot, real_bot
from tests.support.wire import Simulator, credentials_folder, simulator
from tests.support.wire_crash import HECTIC, MARKET, ROW
from tests.support.wire_drills import (
    SETTINGS,
    TURNS,
    Plain,
    WireDrill,
    drill_config,
)

SPEED = 20
READY_S = 5.0
MEMORY_MB = 110.0
KILLS = 3
LASTING = (
    *SETTINGS,
    *("stops.min=0.05", "stops.max=0.05", "warmup_bars=20"),
    *("momentum.period=8", "momentum.entry=0.1", "momentum.exit=-100.0", "momentum.reward=10.0"),
    *('symbols=["BTC-USDT-PERP"]', 'strategies=["momentum"]', f"exchange.speed={SPEED}"),
)
"""settings of a bot that soon enters and does not leave"""
MOST_BARS = 20


class LiveBot(Bot):
    """A live bot on a simulator."""

    def __init__(self, folder: Path, exchange: Simulator) -> None:
        super().__init__(folder)
        self.exchange = exchange
        self.keys = credentials_folder(folder / "keys")

    def words(self, state: Path) -> list[str]:
        settings = [word for setting in LASTING for word in ("--set", setting)]
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


def covered(truth: Plain) -> bool:
    """Return whether all that is held rests under stops."""
    stops: Counter[str] = Counter()
    for order in truth["orders"]:
        if order["role"] == "stop":
            stops[order["symbol"]] += order["contracts"] - order["filled"]
    return all(stops[held["symbol"]] >= held["contracts"] for held in truth["positions"])


def held(exchange: Simulator) -> dict[str, int]:
    """Return by symbol how many contracts are held, all of them under stops."""
    truth = exchange.truth()
    assert truth["duplicates"] == []
    assert covered(truth), truth
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


class Pair:
    """Two bots that were founded on one account while it was flat, each on a host of its own; in
    lock-step."""

    def __init__(self, exchange: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exchange = exchange
        self.bots: list[WireDrill] = []
        exchange.ask("reset", {"skip": ROW})
        for name in ("here", "there"):
            monkeypatch.setenv("RADBOT_LOCK_DIR", str(folder / name / "locks"))
            config = drill_config(exchange, *HECTIC)
            self.bots.append(WireDrill(folder / name, exchange, config=config))
            self.bots[-1].start()
        self.uncovered_ms = 0

    def run_bars(self, bars: int) -> None:
        end_ms = self.bots[0].clock.now_ms + bars * 60_000
        while self.bots[0].clock.now_ms < end_ms:
            self.turn()

    def turn(self) -> None:
        """Let time pass; the account as a whole must be covered before long."""
        before_ms = self.bots[0].clock.now_ms
        now_ms = self.exchange.advance(min(bot.step() for bot in self.bots))
        for bot in self.bots:
            bot.clock.now_ms = now_ms
            for _ in range(TURNS):
                bot.daemon.turn()
                if not bot.wait_for_wire():
                    break
        self.uncovered_ms += now_ms - before_ms
        if covered(self.exchange.truth()):
            self.uncovered_ms = 0
        assert self.uncovered_ms <= MOST_UNCOVERED_MS

    def entries(self) -> Counter[str]:
        """Return how many entries each installation has sent."""
        truth = self.exchange.truth()
        names = {o["client_id"] for o in (*truth["finished"], *truth["orders"])}
        return Counter(n.partition("-")[0] for n in names if n.endswith("-entry"))

    def causes(self) -> list[set[Cause]]:
        return [set(bot.state.modes.causes) for bot in self.bots]

    def close(self) -> None:
        for bot in reversed(self.bots):
            bot.close()


def test_two_hosts_on_one_account_hold_each_other_until_a_person_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        simulator(*MARKET) as exchange,
        closing(Pair(exchange, tmp_path, monkeypatch)) as pair,
    ):
        pair.run_bars(2)
        entries = pair.entries()
        assert len(entries) == len(pair.bots)  # neither knew of the other before both had entered
        assert pair.causes() == [{Cause.FOREIGN_ORDER}] * 2
        assert [bot.state.modes.name for bot in pair.bots] == ["REDUCE_ONLY"] * 2
        pair.run_bars(6)
        assert pair.entries() == entries
        # A person lets one go on; the other still waits for its own.
        first, second = (bot.state.installation for bot in pair.bots)
        state = pair.bots[0].state
        said = Operator(state.now_ms, Command.RESUME, "the other one is to be stopped")
        pair.bots[0].bot.engine.feed(said)
        for _ in range(MOST_BARS):
            pair.run_bars(1)
            if pair.entries()[first] > entries[first]:
                break
        assert state.modes.name == "RUN"
        assert pair.entries() > entries
        assert pair.entries()[second] == entries[second]
        assert pair.causes()[1] >= {Cause.FOREIGN_ORDER}
        pair.close()
        assert all(bot.replayed() > 0 for bot in pair.bots)
