"""A live bot that dies on command; its exchange, the wire simulator, lives on in a process of its
own and its time stands still meanwhile."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bot.adapters.journal import Journal
from bot.adapters.kucoin import KucoinVenue
from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.latches import Latches
from bot.adapters.outbox import Outbox
from bot.core.errors import UnreachableError
from bot.core.kernel.codes import FLAT
from bot.core.messages import Role
from bot.core.modes import Cause
from bot.shell import daemon, live
from bot.shell.untold import tell_untold
from tests.support.cover import wire_held, wire_stops
from tests.support.crash import forked, in_child
from tests.support.lasting import check_told
from tests.support.wire import Simulator
from tests.support.wire_drills import SOON_MS, WireDrill, drill_config

SENT = "futuresPrivatePostOrders"
CANCELLED = "futuresPrivateDelete"
MARKET = (
    *("--market", "synthetic", "--seed", "16", "--history", "800", "--speed", "step"),
    *("--symbols", "BTC-USDT-PERP,ETH-USDT-PERP,SOL-USDT-PERP"),
)
ROW = 811
TRADED_BARS = 5
"""in these bars of the market the bot of `HECTIC` enters three symbols, one of them in parts,
leaves one, replaces stops, and has two positions in the end"""
HECTIC = (
    *("stops.min=0.005", "stops.max=0.005", "warmup_bars=20"),
    *("trend.fast=3", "trend.slow=8", "trend.band_atr=0.1", "trend.adx=5"),
    *("momentum.period=8", "momentum.entry=0.5", "reversion.period=8", "reversion.entry=1.0"),
)
LATENCY_MS = 20  # always the same: one life is like the other
DEPTH = 20_000  # contracts at a price: the largest entry and its exit trade in two parts
MOST_KILLED = 400
RESTART_MS = 2_000
PATIENCE_MS = 5_000
DOUBT_MS = 1_000  # a step of time while the exchange's word on an order is waited for
SETTLED_MS = 90_000
"""an order that never arrived is void after 30 s"""


class Seams:
    """Counts the places where the process can die, and kills it at one of them: the one of a
    number, from 1, or the one of a name, such as "after sending stop 3"."""

    def __init__(self, die_at: int | str = 0) -> None:
        self.die_at = die_at
        self.passed: list[str] = []
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()  # orders are sent by another thread than decides

    def at(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1
            name = f"{what} {self.counts[what]}"
            self.passed.append(name)
            if self.die_at in (len(self.passed), name):
                os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Put the seams into the bot's code, for good: this process is thrown away afterwards."""
        self.around(Journal, "_write", "commit")
        self.around(Latches, "pull", "latch")
        self.around(Latches, "forget_resume", "resume note")
        self.around(live, "write_account", "account file")
        self.around(Outbox, "_write", "message")
        self.after(KucoinVenue, "poll", lambda event: f"told {type(event).__name__}")
        self.after(KucoinVenue, "snapshot", lambda _: "account read")
        self.around_calls()

    def around(self, owner: Any, method: str, what: str) -> None:
        done = getattr(owner, method)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            self.at(f"before {what}")
            answer = done(*args, **kwargs)
            self.at(f"after {what}")
            return answer

        setattr(owner, method, replaced)

    def after(self, owner: Any, method: str, name: Callable[[Any], str]) -> None:
        done = getattr(owner, method)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            answer = done(*args, **kwargs)
            if answer is not None:
                self.at(name(answer))
            return answer

        setattr(owner, method, replaced)

    def around_calls(self) -> None:
        """Requests that change something have a seam on both sides, reads one at their answer; an
        answer that is an error is one, too."""
        done = KucoinClient._call

        async def replaced(client: KucoinClient, call: str, params: Mapping[str, Any]) -> Any:
            what = request_name(call, params or {})
            if not what.startswith("reading"):
                self.at(f"before {what}")
            try:
                return await done(client, call, params)
            finally:
                self.at(f"after {what}")

        KucoinClient._call = replaced  # type: ignore[method-assign]


def request_name(call: str, params: Mapping[str, Any]) -> str:
    """Return what a request is for.

    >>> request_name("futuresPrivatePostOrders", {"clientOid": "r1-7-stop"})
    'sending stop'
    """
    if call == SENT:
        return f"sending {str(params['clientOid']).rpartition('-')[2]}"
    if call.startswith(CANCELLED):
        return "cancelling"
    if call.endswith("PostOrdersTest"):
        return "trying"
    return f"reading {call.removeprefix('futures').removeprefix('Private').removeprefix('Public')}"


class Case:
    """One account on a simulator, and the lives that bots lead on it, each in a process."""

    def __init__(self, exchange: Simulator, folder: Path, pause_ms: int) -> None:
        """Begin a new account; the second life begins `pause_ms` after the first has ended."""
        self.exchange, self.folder, self.pause_ms = exchange, folder, pause_ms
        self.config = drill_config(exchange, *HECTIC)
        exchange.ask("reset", {"skip": ROW, "latency_ms": LATENCY_MS, "depth": DEPTH})
        folder.mkdir()

    def begin(self, die_at: int | str) -> tuple[WireDrill, Seams]:
        """Return a bot that has recovered, and its seams."""
        seams = Seams(die_at)
        seams.install()
        os.environ["RADBOT_LOCK_DIR"] = str(self.folder)
        drill = WireDrill(self.folder / "s", self.exchange, config=self.config)
        start(drill)
        return drill, seams

    def live(self, die_at: int | str = 0) -> None:
        """Trade, be killed by the switch, and write down which seams there were."""
        drill, seams = self.begin(die_at)
        drill.run_bars(TRADED_BARS)
        settle(drill)
        drill.kill()
        drill.close()
        (self.folder / "seams").write_text("\n".join(seams.passed))

    def live_again(self, die_at: int | str = 0) -> None:
        """Recover after a crash and check before anything new is entered; then trade on."""
        self.exchange.advance(self.pause_ms)
        drill, seams = self.begin(die_at)
        seams.die_at = 0
        assert seams.counts["before sending entry"] == 0
        assert Cause.RECOVERING not in drill.state.modes.causes
        see_covered(drill)
        settle(drill)
        drill.run_bars(1)
        settle(drill)
        latched = drill.bot.latches.read() is not None
        assert drill.state.modes.name == ("FLATTEN" if latched else "RUN"), drill.state.modes.causes
        drill.kill()
        drill.close()
        assert drill.replayed() > 0
        check_told(self.folder / "s", drill.state.symbols)
        sent = sum(n for what, n in seams.counts.items() if what.startswith("before sending"))
        (self.folder / "sent").write_text(str(sent))

    def told(self) -> dict[str, int]:
        """Return what the last life has told."""
        return {"orders_afterwards": int((self.folder / "sent").read_text())}

    def recover_killed(self, first: int, stride: int) -> int:
        """Start again and again, each time killed `stride` seams later, until a start comes
        through; return how many did not."""
        for killed in range(MOST_KILLED):
            code = in_child(lambda: self.live_again(first + stride * killed))  # noqa: B023
            self.pause_ms = RESTART_MS
            if code == 0:
                return killed
            assert code == -signal.SIGKILL, f"recovery killed at seam {first + stride * killed}"
        raise AssertionError("recovery never comes through")

    def seams(self) -> list[str]:
        """Return the seams of an undisturbed life."""
        assert in_child(self.live) == 0
        return (self.folder / "seams").read_text().splitlines()


def start(drill: WireDrill) -> None:
    """Recover. Time goes on while the bot waits for its stops, and for an exchange that does not
    answer: it counts requests, and many of them come from bots that are killed while they start."""
    daemon.FIRST_PAUSE_S = daemon.LONGEST_PAUSE_S = 0.01

    def pass_time(seconds: float, by_ms: int = SOON_MS) -> None:
        drill.clock.now_ms = drill.exchange.advance(by_ms)
        drill.wait_for_wire()

    def recover(now: int) -> None:
        try:
            drill.bot.recover(drill.config, now)
        except UnreachableError:
            pass_time(0.0, PATIENCE_MS)
            raise

    live.time = SimpleNamespace(  # type: ignore[assignment]
        sleep=pass_time, monotonic=drill.clock.seconds
    )
    tell_untold(drill.daemon)
    assert drill.daemon.recover(recover)


def see_covered(drill: WireDrill) -> None:
    """See on the exchange that every position rests under stops of ours that protect all of it, or
    that they have been taken and are about to rest: time stands still here. One that an entry is
    still building has its turn later."""
    truth, state = drill.exchange.truth(), drill.state
    stops = wire_stops(truth, state.installation, in_transit=True)
    for symbol, held in wire_held(truth).items():
        building = state.live_orders(state.symbols.index(symbol), Role.ENTRY)
        assert building or drill.cover.covers(stops.get(symbol, ()), held), (held, stops)


def settle(drill: WireDrill) -> None:
    """Let everything that is under way come to an end; then the books must be the exchange's."""
    end_ms = drill.clock.now_ms + SETTLED_MS
    while not settled(drill) and drill.clock.now_ms < end_ms:
        drill.turn(DOUBT_MS if drill.daemon.in_doubt() else 0)
    drill.check()


def settled(drill: WireDrill) -> bool:
    """Return whether every order rests and the bot has read what it holds."""
    state = drill.state
    held = {p["symbol"]: p["side"] * p["contracts"] for p in drill.exchange.truth()["positions"]}
    pairs = zip(state.symbols, state.world.positions, strict=True)
    known = {symbol: pos.side * pos.contracts for symbol, pos in pairs if pos.side != FLAT}
    return held == known and all(order.rests for order in state.orders.values())


def in_lanes[T](
    exchanges: Sequence[Simulator],
    items: Sequence[T],
    work: Callable[[Simulator, int, T], dict[str, int]],
    folder: Path,
) -> Counter[str]:
    """Do `work` on every item, on as many exchanges at once as there are; return the sums of what
    it counts."""
    folder.mkdir()

    def lane(k: int) -> None:
        sums: Counter[str] = Counter()
        for i in range(k, len(items), len(exchanges)):
            sums.update(work(exchanges[k], i, items[i]))
        (folder / str(k)).write_text(json.dumps(sums))

    lanes = [forked(lambda: lane(k)) for k in range(len(exchanges))]  # noqa: B023
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in lanes]
    assert not any(codes), codes
    sums: Counter[str] = Counter()
    for k in range(len(exchanges)):
        sums.update(json.loads((folder / str(k)).read_text()))
    return sums
