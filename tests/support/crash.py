"""A bot that dies on command, and an exchange that lives on in another process."""

import os
import pickle
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from bot.adapters.journal import Journal
from bot.core.market import Row
from bot.core.messages import CancelOrder, Command, Event, Operator, PlaceOrder
from bot.core.reconcile import Snapshot
from bot.core.state import State
from bot.shell.assemble import Base, Bot, begin_run, recover_books
from bot.shell.config import Config
from bot.shell.daemon import Daemon
from bot.shell.engine import Engine, Outcome
from bot.shell.paper import Source
from bot.shell.stop import Stop
from bot.shell.untold import tell_untold
from bot.sim.paper_market import PaperMarket
from tests.support.lasting import check_books, check_orders, check_told, replayed
from tests.support.parts import DrillClock, make_parts

RESTART_MS = 2_000


class Seams:
    """Counts the places where a process can die, and kills it at one of them."""

    def __init__(self, die_at: int = 0) -> None:
        self.die_at = die_at
        self.passed: list[str] = []

    def at(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def send(file: BinaryIO, thing: object) -> None:
    pickle.dump(thing, file)
    file.flush()


class ExchangeProcess:
    """Forks a process that holds a market and answers whoever connects, one after the other."""

    def __init__(
        self, market: PaperMarket, path: Path, row_source: Callable[[], list[Row]]
    ) -> None:
        self.path = path
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(4)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                serve(market, listener, row_source)
            finally:
                os._exit(0)
        listener.close()

    def stop(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


def serve(
    market: PaperMarket, listener: socket.socket, row_source: Callable[[], list[Row]]
) -> None:
    """Answer calls of market methods until killed. A caller that dies is replaced by the next."""
    rows = row_source()
    pyramided: list[str] = []
    while True:
        caller, _ = listener.accept()
        pipe = caller.makefile("rwb")
        try:
            while True:
                name, arguments = pickle.load(pipe)
                if name == "bars":
                    after, before = arguments
                    length = market.timeframe_ms
                    answer: object = [r for r in rows if after < r.open_ms + length < before]
                elif name == "pyramided":
                    answer = pyramided
                else:
                    held = [h.contracts for h in market.exchange.ledger.held]
                    answer = getattr(market, name)(*arguments)
                    for k, h in enumerate(market.exchange.ledger.held):
                        if 0.0 < held[k] < h.contracts:
                            pyramided.append(f"{name}{arguments}: {held[k]} -> {h.contracts}")
                send(pipe, answer)
        except (EOFError, ConnectionError):
            caller.close()


class RemoteVenue:
    """The venue port, and the exchange's truth for tests, over a socket."""

    def __init__(self, path: Path, seams: Seams) -> None:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.connect(str(path))
        self.pipe = server.makefile("rwb")
        self.seams = seams

    def call(self, name: str, *arguments: object) -> Any:
        send(self.pipe, (name, arguments))
        return pickle.load(self.pipe)

    def submit(self, order: PlaceOrder, now: int) -> Event:
        self.seams.at(f"before sending {order.role.value}")
        answer: Event = self.call("submit", order, now)
        self.seams.at(f"after sending {order.role.value}")
        return answer

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        self.seams.at("before cancelling")
        answer: Event | None = self.call("cancel", wish, now)
        self.seams.at("after cancelling")
        return answer

    def poll(self, until_ms: int) -> Event | None:
        event: Event | None = self.call("poll", until_ms)
        if event is not None:
            self.seams.at(f"told {type(event).__name__}")
        return event

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot:
        seen: Snapshot = self.call("snapshot", asked, since_ms, now)
        return seen

    def check_equity(self, ours: float) -> None:
        self.call("check_equity", ours)

    def catch_up(self, until_ms: int, decided_ms: int) -> None:
        self.call("catch_up", until_ms, decided_ms)
        self.seams.at("caught up")

    def bars(self, after_ms: int, before_ms: int) -> list[Row]:
        rows: list[Row] = self.call("bars", after_ms, before_ms)
        return rows

    def decides_ms(self) -> int | None:
        moment: int | None = self.call("decides_ms")
        return moment

    def next_ms(self) -> int | None:
        moment: int | None = self.call("next_ms")
        return moment


class Mortal:
    """A bot on a state directory and a remote exchange, recovered and ready to trade.

    Its start, its commits and its latch are the real ones; only the seams are put between them.
    """

    def __init__(
        self,
        folder: Path,
        venue: RemoteVenue,
        template: State,
        seams: Seams,
        *,
        config: Config,
        source: Source,
    ) -> None:
        self.config, self.venue, self.seams = config, venue, seams
        self.journal = Journal.open(folder / "journal.sqlite3", durable=False)
        stored = self.journal.load_state(template)
        assert stored is not None
        self.state = stored
        self.engine = Engine(stored, venue)
        clock = DrillClock(stored.now_ms)
        parts = make_parts(
            folder,
            config,
            self.engine,
            self.journal,
            Stop(),
            clock,
            venue.next_ms,
            clock.monotonic,
        )
        self.latches = parts.latches
        base = Base(folder, f"run {os.getpid()}", [], self.latches, self.journal)
        self.bot = Bot(base, self.engine, venue, clock, self.recover_books, source)  # type: ignore[type-var]
        begin_run(self.bot, config, {})
        self.daemon = Daemon(self.engine, parts)
        self.engine.commit = self.commit
        self.engine.before_acting = self.latch

    def commit(self, outcomes: Sequence[Outcome], state: State) -> bool:
        self.seams.at("before commit")
        written = self.daemon.commit(outcomes, state)
        assert written
        self.seams.at("after commit")
        return True

    def latch(self) -> None:
        self.seams.at("before latch")
        self.daemon.latch()
        self.seams.at("after latch")

    def recover_books(self, config: Config, now: int) -> None:
        self.venue.catch_up(now, self.state.decided_ms)
        recover_books(self.bot, config, now, self.venue)

    def recover(self) -> None:
        """Start; the service manager waits two seconds before it does so."""
        tell_untold(self.daemon)
        self.bot.recover(self.config, self.state.now_ms + RESTART_MS)

    def trade(self, until_ms: int, kill_ms: int) -> None:
        """Trade up to a bar end, and pull the kill switch after another one."""
        while (due := self.venue.next_ms()) is not None and due <= until_ms:
            self.engine.pump(due)
            if due == kill_ms:
                self.kill()
            self.post()

    def kill(self) -> None:
        self.engine.feed(Operator(self.state.now_ms, Command.KILL, "drill"))
        self.engine.pump(self.state.now_ms)

    def post(self) -> None:
        """End a turn, as far as people are concerned."""
        if self.daemon.parts.outbox.waiting:
            self.seams.at("before leaving messages")
            self.daemon.post()
            self.seams.at("after leaving messages")

    def close(self) -> None:
        """End in order; then every decision of the journal must come out again, and people must
        have been left a message of every incident, once."""
        self.post()
        self.journal.close(clean=True)
        folder = self.journal.path.parent
        check_told(folder, self.state.symbols)
        assert replayed(folder) > 0

    def check(self) -> None:
        """Compare books and exchange; every position must rest under stops of its size."""
        state = self.state
        seen = self.venue.snapshot((), 0, state.now_ms)
        check_books(state, seen)
        check_orders(state, seen)
        assert self.venue.call("pyramided") == []


def forked(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; return its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; return its exit code, negative for a signal."""
    _, status = os.waitpid(forked(work), 0)
    return os.waitstatus_to_exitcode(status)


def killed_after(work: Callable[[], object], seconds: float) -> int:
    """Run `work` in a forked process and kill it after so long; return its exit code, 0 when it was
    faster."""
    pid = forked(work)
    watch = os.pidfd_open(pid)
    ended, _, _ = select.select([watch], [], [], seconds)
    os.close(watch)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
