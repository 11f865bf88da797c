"""A decision loop that hangs: its service manager hears no pings, ends it, and starts it again.

Real processes under a small service manager (tests/support/supervisor.py), with an open position.
Nothing is lost, nothing is entered before the stops are seen to, and the journal stays whole.
"""

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.core.kernel.codes import REVERSAL, SIGNAL, STOP, TARGET
from tests.support.counts import Count
from tests.support.folder import books, check_folder, check_starts
from tests.support.lasting import BUSY
from tests.support.processes import PATIENCE_S, Bot, real_bot, told_by
from tests.support.supervisor import Supervisor, Unit

WATCHDOG_S, ABORT_S, RESTART_S = 3.0, 1.0, 0.1
UNIT = Unit(WATCHDOG_S, timeout_abort_s=ABORT_S, restart_s=RESTART_S)
SHORT = (
    f"timing.watchdog_s={WATCHDOG_S:g}",
    "timing.snapshot_s=2",
    "timing.bar_wait_s=2",
    "timing.uncovered_alert_s=1",
    "timing.uncovered_close_s=2",
    "exchange.timeout_s=2",
    "risk.fast_drawdown_minutes=10",
)
"""every deadline below the watchdog's, as the configuration wants it"""
STAYS = (
    *('symbols=["BTC-USDT-PERP","ETH-USDT-PERP"]', "strategies=[momentum]"),
    *("momentum.period=3", "momentum.entry=0.1", "momentum.exit=-50"),
    *("warmup_bars=5", "regime.slow=30"),
)
"""settings under which a bot soon enters, and keeps what it has"""

HANGS = """
import runpy, socket
from pathlib import Path
from bot.shell.paper_venue import PaperVenue

line, poll, last = Path("line"), PaperVenue.poll, [0]

def hangs(venue, until_ms):
    begins, last[0] = until_ms != last[0], until_ms  # a turn, in which nothing was done yet
    held = any(one.side for one in venue.market.exchange.ledger.held)
    if begins and held and line.exists():
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect("line")
            peer.recv(1)  # nobody ever says anything
    return poll(venue, until_ms)

PaperVenue.poll = hangs
runpy.run_module("bot", run_name="__main__")
"""
"""`radbot` whose loop hangs in a read as soon as it has a position, where somebody listens"""
DEAF = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGABRT])"
"""as a process is that hangs inside the kernel"""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


class Asked(Bot):
    """A bot whose status is what it says itself."""

    def status(self) -> dict[str, Any]:
        return told_by(self.state)


class Service:
    """A bot under the manager, on ports and settings of its own."""

    def __init__(
        self, bot: Bot, start: tuple[str, ...], speed: str, settings: Sequence[str]
    ) -> None:
        self.bot, self.state, self.folder = bot, bot.state, bot.state.parent
        self.port = free_port()
        words = ["paper", "--state", str(bot.state), "--speed", speed]
        words += ["--metrics-port", str(self.port), *(f"--set={one}" for one in settings)]
        self.manager = Supervisor([sys.executable, *start, *words], self.folder, bot.env, UNIT)

    def page(self, path: str) -> tuple[int, str]:
        """Return status and body of a page of the metrics port."""
        try:
            address = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def held(self) -> dict[int, int]:
        """Return the positions, symbol to time of entry; books and exchange must agree on them."""
        check_folder(self.state)
        state = books(self.state)
        return {k: state.world.positions[k].entry_time for k in state.held}

    def check_restarted(self, before: dict[int, int], hung: float, how: str) -> None:
        """Wait for READY after the restart; see that every position of `before` is accounted for:
        still there, or closed for a reason of ours."""
        self.manager.wait("restart")
        ready = self.manager.wait("READY=1", self.manager.words().index("restart"))
        cycles = books(self.state).world.account.cycles
        self.bot.until(lambda told: told["cycles"] > cycles)  # it trades on
        ended = self.manager.stop()
        assert ended[-3:] == ["SIGTERM", "end 0", "result success"]
        with closing(JournalReader(self.state / "journal.sqlite3")) as reader:
            reasons = {(t.symbol, t.entry_time): t.reason for t in reader.trades(1_000)}
            incidents = reader.incidents(1_000)
            assert reader.runs() == (2, 1)  # known, not ended in order
        assert [one for one in incidents if one["level"] == "CRITICAL"] == []
        now = self.held()
        kept = [k for k, entry_time in before.items() if now.get(k) == entry_time]
        for k, entry_time in before.items():
            assert k in kept or reasons[k, entry_time] in (STOP, TARGET, SIGNAL, REVERSAL)
        check_starts(self.state)
        done = self.bot.command_of("replay", str(self.state))
        assert done.returncode == 0, (done.stdout, done.stderr)
        Count(f"hung ({how}), WatchdogSec {WATCHDOG_S:g}: from the hang to READY again").add(
            ms=int((ready - hung) * 1000.0), positions_before=len(before), still_there=len(kept)
        )


@pytest.fixture
def start() -> Iterator[Callable[..., Service]]:
    with ExitStack() as opened:

        def started(start: tuple[str, ...], speed: str, *settings: str) -> Service:
            bot = opened.enter_context(real_bot(Asked))
            service = Service(bot, start, speed, (*SHORT, *settings))
            opened.callback(service.manager.close)
            return service

        yield started


@contextmanager
def somebody_silent(folder: Path) -> Iterator[Callable[[], float]]:
    """Listen where a patched bot calls; yield what waits for its call and returns when that was.

    The next process finds nobody.
    """
    with socket.socket(socket.AF_UNIX) as listener, ExitStack() as calls:
        listener.bind(str(folder / "new"))
        listener.listen()
        listener.settimeout(PATIENCE_S)
        (folder / "new").rename(folder / "line")

        def called() -> float:
            calls.enter_context(listener.accept()[0])  # closed, it would end the read
            (folder / "line").unlink()
            return time.monotonic()

        yield called


def test_a_stopped_process_is_aborted_and_started_again_with_its_position(
    start: Callable[..., Service],
) -> None:
    service = start(("-m", "bot"), "120", *STAYS)
    service.manager.wait("READY=1")
    pid, before = service.manager.pid(), dict[int, int]()
    while not before:
        service.bot.until(lambda told: told["positions"])
        os.kill(pid, signal.SIGSTOP)
        hung = time.monotonic()
        try:
            before = service.held()
        except AssertionError:  # it was in the middle of something
            os.kill(pid, signal.SIGCONT)
    service.check_restarted(before, hung, "SIGSTOP")
    assert service.manager.words()[:8] == [
        *("start", "READY=1", "watchdog", "SIGABRT", "end -6", "restart", "start", "READY=1")
    ]
    assert "Fatal Python error: Aborted" in service.manager.said()


def test_a_loop_that_hangs_says_so_leaves_its_stack_and_is_started_again(
    start: Callable[..., Service],
) -> None:
    service = start(("-c", HANGS), "120", *STAYS)
    service.manager.may_abort.clear()
    service.manager.wait("READY=1")
    with somebody_silent(service.folder) as called:
        hung = called()
        before = service.held()
        service.manager.wait("watchdog")
        code, health = service.page("/healthz")
        assert (code, json.loads(health)["stalled"]) == (503, True)
        code, metrics = service.page("/metrics")
        assert code == 200
        assert f"radbot_open_positions {len(before)}.0" in metrics
        assert len(told_by(service.state)["positions"]) == len(before)
        service.manager.may_abort.set()
        service.check_restarted(before, hung, "a read without end")
    assert service.manager.words()[:8] == [
        *("start", "READY=1", "watchdog", "SIGABRT", "end -6", "restart", "start", "READY=1")
    ]
    said = service.manager.said()
    assert "Fatal Python error: Aborted" in said
    assert "in hangs" in said  # where
    assert "in serve_forever" in said  # and what the others did


def test_a_hung_process_that_does_not_take_the_abort_is_killed(
    start: Callable[..., Service],
) -> None:
    service = start(("-c", DEAF + HANGS), "1200", *BUSY)
    with somebody_silent(service.folder) as called:
        hung = called()
        before = service.held()
        service.check_restarted(before, hung, "deaf to SIGABRT")  # the market has gone on
    assert service.manager.words()[:9] == [
        *("start", "READY=1", "watchdog", "SIGABRT", "SIGKILL", "end -9"),
        *("restart", "start", "READY=1"),
    ]
    assert "Fatal Python error" not in service.manager.said()
