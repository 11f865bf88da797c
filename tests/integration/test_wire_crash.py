"""kill -9 at the seams of a live bot on the wire simulator: nothing lost, nothing doubled, covered
before entries.

The exchange lives on in another process and time stands still between two lives, but for a pause.
Each case forks a bot on a fresh account and kills it at one seam (before or after a commit, an
order, a cancellation, an answer, a latch, inside a read), or at a random moment. Its recovery is
killed, too, a little later with each try, until one comes through; then books and exchange must
agree, the bot trades on, the kill switch leaves it flat, and every decision must come out of its
journal again. `make chaos` tries all seams and 1,000 random moments.
"""

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from bot.adapters.ccxt_slim import kucoin_class
from tests.support.counts import CHAOS, Count
from tests.support.crash import in_child, killed_after
from tests.support.wire import Simulator, simulator
from tests.support.wire_crash import MARKET, Case, in_lanes

SEED = 16
LANES = 2
PAUSES_MS = (0, 2_000, 70_000)
"""a restart while orders are on their way, as systemd does it, and with a bar missed"""
STRIDE = 1 if CHAOS > 1 else 4
QUIET = 8 if CHAOS > 1 else 32
"""one of so many seams that are far from any order"""
TRIES = 4
"""lives until one reaches the seam: threads are no clockwork, and there is one stop more or less"""
KILLS = 40 if CHAOS == 1 else 1_000

SEAMS = Count("kill -9 of a live bot at seams")
MOMENTS = Count("kill -9 of a live bot at random moments")


@pytest.fixture(scope="module")
def exchanges() -> Iterator[list[Simulator]]:
    kucoin_class(slim=True)  # forked bots have it loaded
    with ExitStack() as stack:
        yield [stack.enter_context(simulator(*MARKET)) for _ in range(LANES)]


class Whole(NamedTuple):
    """A life that nothing cuts short."""

    seams: list[str]
    seconds: float


@pytest.fixture(scope="module")
def whole(exchanges: list[Simulator], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    case = Case(exchanges[0], tmp_path_factory.mktemp("whole") / "c", 0)
    began = time.monotonic()
    return Whole(case.seams(), time.monotonic() - began)


def test_the_lives_that_are_cut_short_hold_everything_that_matters(whole: Whole) -> None:
    seams = {name.rpartition(" ")[0] for name in whole.seams}
    for role in ("entry", "exit", "stop", "target"):
        assert {f"before sending {role}", f"after sending {role}"} <= seams
    for what in ("commit", "latch", "cancelling", "account file"):
        assert {f"before {what}", f"after {what}"} <= seams
    assert {"told OrderAccepted", "told Cycle", "account read", "after reading GetOrders"} <= seams


def interesting(seams: list[str]) -> list[str]:
    """Return the seams around orders, and a sample of the quiet ones; of each kind every
    `STRIDE`-th."""
    words = ("sending", "cancelling", "latch", "account file")
    kinds: dict[str, list[str]] = defaultdict(list)
    for i, name in enumerate(seams):
        near = " ".join(seams[max(0, i - 2) : i + 3])
        if i % QUIET == 0 or any(word in near for word in words):
            kinds[name.rpartition(" ")[0]].append(name)
    spread = [found[k % STRIDE % len(found) :: STRIDE] for k, found in enumerate(kinds.values())]
    return [name for found in spread for name in found]


def test_a_kill_at_every_seam_loses_nothing_and_doubles_nothing(
    exchanges: list[Simulator], whole: Whole, tmp_path: Path
) -> None:
    points = interesting(whole.seams)

    def kill_at(exchange: Simulator, i: int, point: str) -> dict[str, int]:
        for life in range(TRIES):
            case = Case(exchange, tmp_path / f"{i} {life}", PAUSES_MS[i % len(PAUSES_MS)])
            code = in_child(lambda: case.live(point))  # noqa: B023
            if code != 0:
                break
        else:
            return {"seams_not_reached": 1}
        assert code == -signal.SIGKILL, point
        if i % 32 in (0, 1):
            killed = case.recover_killed(1 + i % STRIDE, STRIDE)
            return {"kills": 1, "kills_inside_recovery": killed, **case.told()}
        assert in_child(case.live_again) == 0, f"after a kill at seam {point}"
        return {"kills": 1, **case.told()}

    with SEAMS:
        SEAMS.add(**in_lanes(exchanges, points, kill_at, tmp_path / "lanes"))
    assert len(points) > 25
    assert SEAMS.numbers["kills"] > 0.95 * len(points)
    assert SEAMS.numbers["kills_inside_recovery"] > 10
    assert SEAMS.numbers["orders_afterwards"] > 20


def test_a_kill_at_a_random_moment_loses_nothing_and_doubles_nothing(
    exchanges: list[Simulator], whole: Whole, tmp_path: Path
) -> None:
    def kill_twice(exchange: Simulator, folder: Path, rng: Random) -> dict[str, int]:
        first, second = (rng.uniform(0.0, whole.seconds / share) for share in (1.0, 4.0))
        case = Case(exchange, folder, rng.choice(PAUSES_MS))
        codes = [killed_after(case.live, first), killed_after(case.live_again, second)]
        assert set(codes) <= {0, -signal.SIGKILL}, (folder, first, second)
        assert in_child(case.live_again) == 0, (folder, first, second)
        return {"kills": codes.count(-signal.SIGKILL), **case.told()}

    def kill_share(exchange: Simulator, lane: int, kills: int) -> Counter[str]:
        rng, sums = Random(SEED + lane), Counter[str]()
        while sums["kills"] < kills:
            sums["accounts"] += 1
            folder = tmp_path / f"lane {lane} account {sums['accounts']}"
            sums.update(kill_twice(exchange, folder, rng))
        return sums

    with MOMENTS:
        shares = [KILLS // LANES] * LANES
        MOMENTS.add(**in_lanes(exchanges, shares, kill_share, tmp_path / "lanes"))
    assert MOMENTS.numbers["kills"] >= KILLS
    assert MOMENTS.numbers["orders_afterwards"] > 0


def test_money_that_comes_between_two_tries_to_found_a_bot_is_counted_once(
    exchanges: list[Simulator], tmp_path: Path
) -> None:
    case = Case(exchanges[0], tmp_path / "c", 2_000)
    assert in_child(lambda: case.live("after account file 1")) == -signal.SIGKILL
    case.exchange.advance(1_000)
    case.exchange.ask("outside", {"do": "transfer", "amount": 500.0})
    assert in_child(case.live_again) == 0
