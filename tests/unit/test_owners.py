"""Owners go by name: another list of strategies at the next start takes no position over, closes
none by a signal, and writes no trade to the wrong strategy.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters.journal import Journal
from bot.adapters.journal_errors import JournalUnusableError
from bot.adapters.journal_reader import JournalReader
from bot.core.kernel.codes import EMA_CROSS, ENTRY, FLAT, MOMENTUM, REVERSION, TREND
from bot.core.messages import Effect, Event, Role
from bot.core.owners import RETIRED
from bot.core.state import State
from bot.core.step import step
from bot.shell.offline import run_identity, template
from bot.shell.replay import replay
from bot.shell.status import describe
from tests.support.states import COIN, NAMES, Desk, eager_params, make_state, placed
from tests.support.worlds import make_world

FALLING = (100.5, 100.0, 99.5, 99.0, 98.5, 98.0)


def configured(*strategies: int, reference: int = 0) -> State:
    """Return the fresh state of another configuration."""
    world = make_world(
        params=eager_params(reference=reference),
        strategies=strategies,
        specs=[COIN],
        balance=2_100.0,
    )
    return State(world=world, symbols=NAMES[:1], installation="t")


class Bot(Desk):
    """A desk on a journal: every new one is a restart."""

    def __init__(self, path: Path, fresh: State) -> None:
        self.journal = Journal.open(path, durable=False)
        try:
            stored = self.journal.load_state(fresh)
        except BaseException:
            self.journal.db.close()
            raise
        super().__init__(stored if stored is not None else fresh, warm=False)
        identity = run_identity(self.state.world)
        self.journal.begin_run(f"run of {identity['strategies']}", 0, identity, self.state)

    def feed(self, event: Event) -> list[Effect]:
        effects = step(self.state, event)
        self.effects += effects
        self.journal.commit([(event, effects)], self.state)
        return effects

    def end(self) -> None:
        self.journal.close(clean=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def held(path: Path) -> Path:
    """The journal of a bot of (trend, momentum) that has ended in a position of momentum."""
    bot = Bot(path, configured(TREND, MOMENTUM))
    bot.bars(100.0)
    bot.bars(100.0)
    bot.bars(100.0)
    bot.enter()
    assert bot.position.strategy == 1
    bot.end()
    return path


@pytest.fixture
def restarted(held: Path) -> Iterator[Bot]:
    """The next run, without momentum."""
    bot = Bot(held, configured(REVERSION, TREND))
    yield bot
    bot.end()


def test_another_order_changes_no_owner(held: Path) -> None:
    bot = Bot(held, configured(MOMENTUM, TREND))
    assert bot.position.strategy == 0
    assert bot.state.world.strategies == [MOMENTUM, TREND]
    exits = [order for close in FALLING for order in placed(bot.bars(close), Role.EXIT)]
    assert len(exits) == 1  # its owner leaves
    bot.end()


def test_an_owner_that_is_not_configured_closes_nothing_by_a_signal(restarted: Bot) -> None:
    assert restarted.state.world.strategies == [REVERSION, TREND, RETIRED + MOMENTUM]
    assert len(restarted.state.world.wishes) == 3
    stop = restarted.find("stop").request.price
    for close in (*FALLING, 110.0, 95.0, 112.0, 99.0):
        assert placed(restarted.bars(close), Role.EXIT) == []
    assert restarted.position.side != FLAT
    assert restarted.find("stop").request.price >= stop
    [told] = describe(restarted.state)["positions"]
    assert told["strategy"] == "momentum"


def test_its_trade_has_its_name(restarted: Bot) -> None:
    restarted.fill("stop", 10.0, 99.0, "f9")
    assert [trade.strategy for trade in restarted.trades] == [MOMENTUM]
    assert [trade.strategy for trade in restarted.journal.trades()] == [MOMENTUM]


def test_it_is_the_owner_again_when_it_is_configured_again(restarted: Bot, held: Path) -> None:
    restarted.bars(102.0)
    restarted.end()
    bot = Bot(held, configured(REVERSION, MOMENTUM))
    assert bot.state.world.strategies == [REVERSION, MOMENTUM]
    assert bot.position.strategy == 1
    bot.end()


def test_an_entry_under_way_keeps_its_owner(path: Path) -> None:
    bot = Bot(path, configured(TREND, MOMENTUM))
    for close in (100.0, 100.0, 100.0, 101.0):
        bot.bars(close)
    bot.end()
    bot = Bot(path, configured(REVERSION))
    bot.accept("entry")
    bot.fill("entry", 10.0, 101.1)
    assert bot.state.world.strategies[bot.position.strategy] == RETIRED + MOMENTUM
    bot.end()


def test_an_entry_that_ended_and_traded_after_all_keeps_its_owner(path: Path) -> None:
    bot = Bot(path, configured(TREND, MOMENTUM))
    for close in (100.0, 100.0, 100.0, 101.0):
        bot.bars(close)
    bot.accept("entry")
    bot.cancelled("entry")
    [ended] = bot.state.ended.values()
    bot.end()
    bot = Bot(path, configured(REVERSION))
    bot.state.orders[ended.request.client_id] = bot.state.ended.pop(ended.request.client_id)
    assert bot.state.world.strategies[bot.state.world.intents[0].strategy] == RETIRED + MOMENTUM
    bot.end()


def test_nothing_is_kept_of_an_owner_that_owns_nothing(held: Path) -> None:
    bot = Bot(held, configured(TREND, MOMENTUM))
    bot.fill("stop", 10.0, 99.0, "f9")
    bot.cancelled("target")
    bot.end()
    bot = Bot(held, configured(REVERSION))
    assert bot.state.world.strategies == [REVERSION]
    bot.bars(100.0)
    bot.end()


def test_replay_takes_each_run_by_its_own_strategies(restarted: Bot, held: Path) -> None:
    for close in (102.0, 103.0, 101.0):
        restarted.bars(close)
    restarted.fill("stop", 10.0, 99.0, "f9")
    restarted.bars(100.0)
    restarted.end()
    last = Bot(held, configured(MOMENTUM))
    last.bars(101.0)
    last.bars(99.0)
    last.end()
    with closing(JournalReader(held)) as reader:
        result = replay(reader)
        names = [identity["strategies"] for identity in reader.identities().values()]
    assert names == ["trend,momentum", "reversion,trend,retired:momentum", "momentum"]
    assert result.differences == []
    assert (result.runs, result.states) == (3, 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((MOMENTUM, 0), (EMA_CROSS, 1)),
        ((EMA_CROSS, 1), (MOMENTUM, 0)),
    ],
    ids=["to the reference", "from the reference"],
)
def test_the_reference_takes_no_position_over_and_leaves_none(
    path: Path, before: tuple[int, int], after: tuple[int, int]
) -> None:
    state = configured(before[0], reference=before[1])
    state.world.positions[0].side = 1
    Bot(path, state).end()
    with pytest.raises(JournalUnusableError, match="expected strategies that can keep") as caught:
        Bot(path, configured(after[0], reference=after[1]))
    assert caught.value.exit_code == 78


def without_owners(path: Path) -> None:
    """Make a journal what a release wrote that knew places only."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for part in ("positions", "intents"):
            [(body,)] = db.execute("SELECT body FROM state WHERE part = ?", (part,)).fetchall()
            plain = [{k: v for k, v in one.items() if k != "owner"} for one in json.loads(body)]
            db.execute("UPDATE state SET body = ? WHERE part = ?", (json.dumps(plain), part))


def test_a_state_of_the_previous_release_is_read(held: Path) -> None:
    without_owners(held)
    bot = Bot(held, configured(TREND, MOMENTUM))
    assert bot.position.strategy == 1
    bot.end()


def test_a_place_that_does_not_exist_is_refused(held: Path) -> None:
    without_owners(held)
    with pytest.raises(JournalUnusableError, match="can keep a position"):
        Bot(held, configured(TREND))


def test_who_reads_the_journal_sees_the_owner(restarted: Bot, held: Path) -> None:
    with closing(JournalReader(held)) as reader:
        state = reader.load_state(template(list(reader.symbols()), reader.identity()))
    assert state is not None
    assert describe(state)["positions"][0]["strategy"] == "momentum"
    assert state.world.strategies == restarted.state.world.strategies


def test_an_intent_names_its_owner_too(path: Path) -> None:
    bot = Bot(path, make_state())
    for close in (100.0, 100.0, 100.0, 101.0):
        bot.bars(close)
    assert bot.state.world.intents[0].kind == ENTRY
    bot.end()
    with closing(sqlite3.connect(path)) as db:
        [(body,)] = db.execute("SELECT body FROM state WHERE part = 'intents'").fetchall()
    assert json.loads(body)[0]["owner"] == "momentum"
