"""kill -9 at the seams of a trading bot: nothing lost, nothing doubled, covered before entries.

The exchange lives on in another process. Each case forks a bot from a warm one and kills it at one
seam (before or after a commit, a send, an answer, a latch), or at a random moment. Its recovery is
killed, too, at one seam further with each try, until one comes through; then books and exchange
must agree, the bot trades on, and every decision must come out of its journal again. `make chaos`
kills more recoveries and at 1,000 random moments.
"""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from bot.adapters.journal import Journal
from bot.core.kernel.codes import FLATTEN
from bot.core.market import Row
from bot.core.modes import Cause
from bot.core.state import State
from bot.shell.build import build_world
from bot.shell.config import load_config
from bot.shell.engine import Engine
from bot.shell.offline import run_identity
from bot.shell.paper import Source, synthetic_source
from bot.sim.paper_market import PaperMarket
from tests.support.counts import CHAOS, Count
from tests.support.crash import (
    ExchangeProcess,
    Mortal,
    RemoteVenue,
    Seams,
    in_child,
    killed_after,
)
from tests.support.lasting import BUSY

SEED = 16
WARM_BARS = 120
TRADED_BARS = 60
CONFIG = load_config(None, BUSY)


QUIET = 1 if CHAOS > 1 else 16
"""one of so many seams that are far from any order"""
INSIDE = 6 if CHAOS > 1 else 60
"""one case of so many has each seam of its recovery, too"""
SEAMS = Count("kill -9 at seams")
MOMENTS = Count("kill -9 at random moments")
MOMENT_KILLS = 40 if CHAOS == 1 else 1_000


class Warm:
    """A market and a journal that have seen `WARM_BARS` bars; every case starts from copies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source: Source = synthetic_source(CONFIG, CONFIG.timeframe_ms, SEED, None)
        self.rows: list[Row] = list(islice(self.source.stream(), WARM_BARS + TRADED_BARS + 40))
        self.market = self.new_market()
        journal = Journal.open(folder / "journal.sqlite3", durable=False)
        state = self.template()
        journal.begin_run("warm", 0, run_identity(state.world), state)
        engine = Engine(state, self.market)

        def commit(outcomes: object, now: State) -> bool:
            journal.commit(outcomes, now)  # type: ignore[arg-type]
            return True

        engine.commit = commit
        for _ in range(WARM_BARS):
            engine.pump(self.market.next_ms() or 0)
        journal.close(clean=True)
        self.end_ms = (self.market.next_ms() or 0) + TRADED_BARS * CONFIG.timeframe_ms
        self.kill_ms = self.end_ms - 5 * CONFIG.timeframe_ms

    def new_market(self) -> PaperMarket:
        world = build_world(CONFIG, self.source.specs, self.source.start_ms)
        deposits = world.account.deposits
        return PaperMarket(world.params, world.specs, deposits, iter(self.rows))

    def template(self) -> State:
        world = build_world(CONFIG, self.source.specs, self.source.start_ms)
        return State(world, self.source.symbols, "t")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Warm:
    return Warm(tmp_path_factory.mktemp("warm"))


class Case:
    """One bot and one exchange, begun from the warm ones."""

    def __init__(self, warm: Warm, folder: Path) -> None:
        self.warm, self.folder = warm, folder
        folder.mkdir()
        for path in warm.folder.glob("journal.sqlite3*"):
            shutil.copy(path, folder)
        self.exchange = ExchangeProcess(warm.market, folder / "x.sock", lambda: warm.rows)

    def begin(self, die_at: int = 0) -> Mortal:
        seams = Seams(die_at)
        venue = RemoteVenue(self.folder / "x.sock", seams)
        source = self.warm.source
        template = self.warm.template()
        return Mortal(self.folder, venue, template, seams, config=CONFIG, source=source)

    def live(self, die_at: int = 0) -> list[str]:
        """Recover, trade to the end and be killed by the switch; return the seams passed."""
        bot = self.begin(die_at)
        bot.recover()
        bot.trade(self.warm.end_ms, self.warm.kill_ms)
        bot.check()
        bot.close()
        return bot.seams.passed

    def live_again(self, die_at: int = 0) -> None:
        """Recover after a crash and check before anything new is entered; then trade on."""
        bot = self.begin(die_at)
        bot.recover()
        bot.seams.die_at = 0
        bot.check()
        assert Cause.RECOVERING not in bot.state.modes.causes
        bot.trade(self.warm.end_ms, self.warm.kill_ms)
        if bot.state.modes.mode != FLATTEN:
            bot.kill()
        bot.trade(self.warm.end_ms + 3 * CONFIG.timeframe_ms, 0)
        bot.check()
        assert bot.state.flat
        assert bot.latches.read() is not None
        bot.close()

    def recover_killed(self) -> int:
        """Start again and again, each time killed one seam later, until a start comes through.

        Return how many recoveries were killed.
        """
        for killed in range(200):
            code = in_child(lambda: self.live_again(killed + 1))  # noqa: B023
            if code == 0:
                return killed
            assert code == -signal.SIGKILL, f"recovery killed at seam {killed + 1}"
        raise AssertionError("recovery never comes through")


@pytest.fixture
def new_case(warm: Warm, tmp_path: Path) -> Iterator[Callable[[str], Case]]:
    cases: list[Case] = []

    def make(name: str) -> Case:
        cases.append(Case(warm, tmp_path / name))
        return cases[-1]

    yield make
    for case in cases:
        case.exchange.stop()


def seams_of(case: Case) -> list[str]:
    """Return the seams that an undisturbed life passes."""
    out = case.folder / "seams"

    def life() -> None:
        out.write_text("\n".join(case.live()))

    assert in_child(life) == 0
    return out.read_text().splitlines()


def test_the_lives_that_are_cut_short_hold_everything_that_matters(
    new_case: Callable[[str], Case],
) -> None:
    seams = set(seams_of(new_case("whole")))
    for role in ("entry", "exit", "stop", "target"):
        assert {f"before sending {role}", f"after sending {role}"} <= seams
    assert {"before commit", "after commit", "before latch", "after latch"} <= seams
    assert {"before leaving messages", "after leaving messages"} <= seams
    assert {"before cancelling", "after cancelling", "told OrderFilled", "told Cycle"} <= seams


def interesting(seams: list[str]) -> list[int]:
    """Return the numbers (from 1) of the seams around orders, and a sample of the quiet ones."""
    words = ("sending", "cancel", "latch", "Fill", "messages")
    chosen = []
    for i in range(len(seams)):
        near = " ".join(seams[max(0, i - 2) : i + 3])
        if i % QUIET == 0 or any(word in near for word in words):
            chosen.append(i + 1)
    return chosen


def test_a_kill_at_every_seam_loses_nothing_and_doubles_nothing(
    new_case: Callable[[str], Case],
) -> None:
    points = interesting(seams_of(new_case("whole")))
    with SEAMS:
        for i, point in enumerate(points):
            case = new_case(f"c{point}")
            assert in_child(lambda: case.live(point)) == -signal.SIGKILL, point  # noqa: B023
            # Every seam of the recovery is too much for each case; a few cases have them all.
            if i % INSIDE == 0:
                SEAMS.add(kills=1, kills_inside_recovery=case.recover_killed())
            else:
                assert in_child(case.live_again) == 0, f"after a kill at seam {point}"
                SEAMS.add(kills=1)
            case.exchange.stop()
    assert len(points) > 200
    assert SEAMS.numbers["kills_inside_recovery"] > 40


def test_a_kill_at_a_random_moment_loses_nothing_and_doubles_nothing(
    new_case: Callable[[str], Case],
) -> None:
    rng = Random(SEED)
    began = time.monotonic()
    assert in_child(new_case("timed").live) == 0
    life_s = time.monotonic() - began
    kills = 0
    with MOMENTS:
        for number in range(4 * MOMENT_KILLS):
            case = new_case(f"m{number}")
            first, second = rng.uniform(0.0, life_s), rng.uniform(0.0, life_s)
            codes = [killed_after(case.live, first), killed_after(case.live_again, second)]
            assert set(codes) <= {0, -signal.SIGKILL}, (number, first, second)
            if codes[0] == 0:  # The machine is faster now than when the life was timed.
                life_s = first
            assert in_child(case.live_again) == 0, (number, first, second)
            case.exchange.stop()
            kills += codes.count(-signal.SIGKILL)
            if kills >= MOMENT_KILLS:
                break
        MOMENTS.add(kills=kills, accounts=number + 1)
    assert kills >= MOMENT_KILLS
