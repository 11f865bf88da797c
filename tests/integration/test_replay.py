"""`radbot replay`: a journal reproduces every decision, and what was tampered with is found."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.adapters.journal_schema import BOUNDS
from bot.core.market import DAY_MS
from bot.core.messages import Configured
from bot.shell import replay as replay_module
from bot.shell.build import to_params, to_tiers
from bot.shell.cli import main
from bot.shell.config import load_config
from bot.shell.paper import synthetic_source
from bot.shell.replay import replay
from tests.support.lasting import recovered

SETTINGS = ['symbols=["BTC-USDT-PERP","ETH-USDT-PERP"]']
CONFIG = load_config(None, SETTINGS)
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, 16, None)


def trade(folder: Path, bars: int, *, clean: bool, reconfigure: bool = False) -> None:
    """Go on for some bars; end in order, or as a process that died."""
    bot = recovered(CONFIG, SOURCE, folder)
    for i in range(bars):
        if reconfigure and i == bars // 2:
            new = load_config(None, [*SETTINGS, "risk.max_positions=1", "stops.atr=3.5"])
            now = bot.engine.state.now_ms
            bot.engine.feed(Configured(now, "new", to_params(new), tuple(to_tiers(new))))
        bot.engine.pump(bot.venue.next_ms() or 0)
    bot.close(clean=clean)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a life with three runs, one of which died and one was reconfigured."""
    folder = tmp_path_factory.mktemp("life")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADBOT_LOCK_DIR", str(folder))
        trade(folder / "s", 500, clean=True)
        trade(folder / "s", 300, clean=False)
        trade(folder / "s", 1_700, clean=True, reconfigure=True)
    return folder / "s"


def test_every_decision_is_reproduced(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(journal), "--json", "--last", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["complete"], told["skipped"]) == (True, True, 0)
    assert (told["runs"], told["unclean"]) == (3, 1)
    assert told["events"] > 2_500
    assert (
        told["states"] == 3
    )  # two midnights and the end; a run's first state is given, not reached
    assert len(told["last"]) == 2
    assert main(["replay", str(journal)]) == 0
    assert "equal: every decision" in capsys.readouterr().out


def tampered(journal: Path, folder: Path, sql: str) -> int:
    """Return how many differences a copy of the journal shows after `sql`."""
    folder.mkdir()
    copy = folder / "journal.sqlite3"
    with (
        closing(sqlite3.connect(journal / "journal.sqlite3")) as db,
        closing(sqlite3.connect(copy)) as out,
    ):
        db.backup(out)
        assert out.execute(sql).rowcount == 1
        out.commit()
    with closing(JournalReader(copy)) as reader:
        return replay(reader).different


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM events WHERE n = (SELECT max(n) FROM events WHERE event LIKE '%OrderFilled%')",
        "UPDATE events SET effects = '[]' WHERE n = "
        "(SELECT max(n) FROM events WHERE effects LIKE '%\"PlaceOrder\"%')",
        "UPDATE events SET event = replace(event, '\"price\": ', '\"price\": 1') WHERE n = "
        "(SELECT max(n) FROM events WHERE event LIKE '%OrderFilled%')",
    ],
)
def test_what_was_changed_is_found(journal: Path, tmp_path: Path, sql: str) -> None:
    assert tampered(journal, tmp_path / "copy", sql) > 0


def test_a_difference_is_shown(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tampered(
        journal,
        tmp_path / "copy",
        "UPDATE events SET effects = '[]' WHERE n = "
        "(SELECT max(n) FROM events WHERE effects LIKE '%\"PlaceOrder\"%')",
    )
    assert main(["replay", str(tmp_path / "copy")]) == 1
    said = capsys.readouterr().err
    assert "another decision on" in said
    assert "replay   PlaceOrder(" in said


def test_nothing_to_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(tmp_path)]) == 2
    assert "has the bot ever run here?" in capsys.readouterr().err
    assert main(["replay", str(tmp_path), "--last", "-1"]) == 2


@pytest.fixture
def crash_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A life of so many bars, then more starts than there is room for, each ended by a crash."""
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setitem(cast("dict[str, int]", BOUNDS), "checkpoints", 2)

    def live(bars: int) -> Path:
        for some in (bars, 10, 10, 10):
            trade(tmp_path / "s", some, clean=False)
        return tmp_path / "s"

    return live


def test_events_without_a_state_before_them_are_told(
    crash_loop: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = crash_loop(20)
    with closing(JournalReader(folder / "journal.sqlite3")) as reader:
        first, _, _ = reader.checkpoints()[0]
        last = reader.last_event() or 0
    assert main(["replay", str(folder), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["equal"], told["complete"]) == (True, False)
    assert (told["skipped"], told["events"]) == (first - 1, last - first + 1)
    assert told["skipped"] > 20
    assert main(["replay", str(folder)]) == 3
    out, err = capsys.readouterr()
    assert f"NOT DECIDED AGAIN: {told['skipped']} events; " in err
    assert "equal: every decision of these" in out


def test_a_crash_loop_pushes_out_no_midnight(crash_loop: Callable[[int], Path]) -> None:
    folder = crash_loop(1_000)
    with closing(JournalReader(folder / "journal.sqlite3")) as reader:
        kept = reader.checkpoints()
        assert [now_ms % DAY_MS < 60_000 for _, now_ms, _ in kept] == [True, False, False]
        midnight, starts, last = kept[0][0], reader.starts(), reader.last_event() or 0
        result = replay(reader)
    # Up to the midnight, and from the first crash until the starts whose states are kept.
    assert result.skipped == midnight - 1 + starts[2] - starts[1]
    assert (result.different, result.events) == (0, last - result.skipped)


def test_a_bot_that_goes_on_meanwhile_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(replay_module, "TOLD_EVERY", 100)
    bot = recovered(CONFIG, SOURCE, tmp_path / "s")

    def go_on(_done: int = 0) -> None:
        for _ in range(20):
            bot.engine.pump(bot.venue.next_ms() or 0)

    for _ in range(20):
        go_on()
    with closing(JournalReader(tmp_path / "s" / "journal.sqlite3")) as reader:
        known = reader.last_event()
        result = replay(reader, go_on)
        assert (result.events, result.states, result.differences) == (known, 1, [])
        assert (reader.last_event() or 0) > result.events
    bot.close(clean=True)
