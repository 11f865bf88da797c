"""The engine: bars that only the indicators see share commits; none of them is lost for it."""

from collections.abc import Iterator, Sequence

import pytest

from bot.core.errors import UnreachableError
from bot.core.market import Bar
from bot.core.messages import Event, History, Tick
from bot.core.state import State
from bot.shell.engine import TOGETHER, Engine, Outcome
from bot.sim.paper_market import PaperMarket
from tests.support.paper import market_data
from tests.support.worlds import HOUR, START, bars_of, market_of, reference_world

WARMUP = 2 * TOGETHER + 50
BAR = Bar(100.0, 101.0, 99.0, 100.0, 1.0)
PAST = [History(START - (WARMUP - n) * HOUR, (BAR,)) for n in range(WARMUP)]


class Told(PaperMarket):
    """A market that tells what it is given, until it cannot be reached."""

    def __init__(self, events: Sequence[Event]) -> None:
        world, data = reference_world(), market_data(market_of(bars_of([100.0, 100.0])))
        super().__init__(world.params, world.specs, world.account.deposits, data.rows())
        self.engine = Engine(State(world, data.symbols, "test"), self)
        self.engine.commit = self.commit
        self.coming: Iterator[Event] = iter(events)
        self.committed: list[list[Event]] = []
        self.reachable = True

    def poll(self, until_ms: int) -> Event | None:
        event = next(self.coming, None)
        if event is None and not self.reachable:
            raise UnreachableError("nobody answers")
        return event

    def commit(self, outcomes: Sequence[Outcome], state: State) -> bool:
        self.committed.append([event for event, _ in outcomes])
        return True


def test_the_bars_of_a_warm_up_share_commits() -> None:
    """At 5 ms for each on a disk that is slow, hundreds of commits hold up the start."""
    market = Told(PAST)
    market.engine.pump(START)
    assert [len(batch) for batch in market.committed] == [TOGETHER, TOGETHER, 50]
    assert [event for batch in market.committed for event in batch] == PAST
    assert market.engine.state.world.symbols[0].bars == WARMUP


def test_what_comes_after_older_bars_is_decided_with_them_seen_and_by_itself() -> None:
    market = Told([*PAST[:3], Tick(START), *PAST[3:5]])
    market.engine.pump(START)
    assert market.committed == [PAST[:3], [Tick(START)], PAST[3:5]]


def test_bars_that_were_told_before_the_line_broke_are_seen() -> None:
    """Nobody tells them again, and the indicators would have a hole."""
    market = Told(PAST[:3])
    market.reachable = False
    with pytest.raises(UnreachableError):
        market.engine.pump(START)
    assert market.committed == [PAST[:3]]
