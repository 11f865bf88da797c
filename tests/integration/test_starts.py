"""What a start takes from the last run and from people: order ids, a resume that was left, owners
that are not configured any more.
"""

import logging
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.adapters.latches import Latches
from bot.core.messages import Command, Notice, Operator
from bot.core.modes import Cause
from bot.shell import offline
from bot.shell.assemble import Bot
from bot.shell.config import load_config
from bot.shell.control import Commands, Request
from bot.shell.obedience import Obedience
from bot.shell.paper import synthetic_source
from bot.shell.paper_venue import PaperVenue
from bot.shell.recovery import SEQUENCE_GAP
from tests.support.lasting import BUSY, check_books, recovered

CONFIG = load_config(None, BUSY)
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, 16, None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    return tmp_path / "s"


def pump(bot: Bot[PaperVenue], bars: int) -> None:
    for _ in range(bars):
        bot.engine.pump(bot.venue.next_ms() or 0)


def held(bot: Bot[PaperVenue]) -> list[int]:
    return bot.engine.state.held


def into_a_position(folder: Path) -> Bot[PaperVenue]:
    bot = recovered(CONFIG, SOURCE, folder)
    while not held(bot):
        pump(bot, 1)
    return bot


def test_ids_of_orders_that_were_never_written_are_not_used_again(folder: Path) -> None:
    bot = into_a_position(folder)
    bot.engine.commit = lambda outcomes, state: False  # the journal cannot be written
    bot.engine.feed(Operator(bot.engine.state.now_ms, Command.KILL, "r"))
    sent = bot.engine.state.sequence
    bot.close(clean=False)

    bot = recovered(CONFIG, SOURCE, folder)
    state = bot.engine.state
    assert sent < SEQUENCE_GAP < state.sequence
    with closing(JournalReader(folder / "journal.sqlite3")) as reader:
        checkpoint = reader.checkpoints()[-1][0]
        first = reader.state_at(
            checkpoint, offline.template(list(state.symbols), reader.identity())
        )
        assert first.sequence > SEQUENCE_GAP
    said: list[str] = []
    bot.engine.listener = lambda event, effects: said.extend(
        effect.text for effect in effects if isinstance(effect, Notice)
    )
    pump(bot, 60)
    assert not [text for text in said if "clientOid already exists" in text]
    check_books(state, bot.venue.snapshot((), 0, state.now_ms))
    known = state.sequence
    bot.close(clean=True)

    bot = recovered(CONFIG, SOURCE, folder)
    assert bot.engine.state.sequence == known  # the last one ended in order
    bot.close(clean=True)


def killed(folder: Path) -> None:
    """Leave a bot that is latched, and down."""
    bot = into_a_position(folder)
    bot.latches.pull("kill_switch", "smoke", "ann", 5)
    bot.engine.feed(Operator(bot.engine.state.now_ms, Command.KILL, "smoke"))
    pump(bot, 3)
    assert not held(bot)
    bot.close(clean=True)


def resumes(folder: Path) -> list[str]:
    with closing(JournalReader(folder / "journal.sqlite3")) as reader:
        found = [event for _, event, _ in reader.events(1) if isinstance(event, Operator)]
    return [event.reason for event in found if event.command is Command.RESUME]


def test_a_resume_that_was_left_is_obeyed_once_and_audited(folder: Path) -> None:
    killed(folder)
    offline.resume(folder, "checked", "bob", 6)
    bot = recovered(CONFIG, SOURCE, folder)
    assert bot.engine.state.modes.name == "RUN"
    assert bot.latches.read() is None
    bot.engine.feed(Operator(bot.engine.state.now_ms, Command.KILL, "again"))
    pump(bot, 2)
    bot.close(clean=True)
    assert resumes(folder) == ["checked (by bob, while the bot was down)"]

    bot = recovered(CONFIG, SOURCE, folder)
    assert bot.engine.state.modes.name == "FLATTEN"
    bot.close(clean=True)
    assert len(resumes(folder)) == 1


def refuse(*_: object, **__: object) -> None:
    raise PermissionError("read-only file system")


def test_a_resume_whose_note_would_stay_is_not_obeyed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(folder)
    offline.resume(folder, "checked", "bob", 6)
    monkeypatch.setattr(Latches, "forget_resume", refuse)
    bot = recovered(CONFIG, SOURCE, folder)
    assert bot.engine.state.modes.name == "FLATTEN"
    bot.close(clean=True)
    assert resumes(folder) == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_resume_that_cannot_take_the_latch_away_resumes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    bot = into_a_position(folder)
    bot.latches.pull("kill_switch", "smoke", "ann", 5)
    bot.engine.feed(Operator(bot.engine.state.now_ms, Command.KILL, "smoke"))
    pump(bot, 3)
    obedience = Obedience(bot.engine, Commands(lambda reason, by: None), bot.latches)
    if kept:
        monkeypatch.setattr(Path, "unlink", refuse)
    else:
        monkeypatch.setattr(bot.latches, "prepare", refuse)
    request = Request("resume", {"reason": "checked", "by": "bob"})
    obedience.start(request, bot.engine.state.now_ms)
    monkeypatch.undo()
    answer = request.answers.get_nowait()
    assert answer["done"]
    causes = bot.engine.state.modes.causes
    if kept:
        assert answer["code"] == 75
        assert "read-only file system; nothing is resumed" in answer["error"]
        assert Cause.KILL_SWITCH in causes
        assert bot.latches.read() is not None
    else:  # it is gone; only the next pull will need room
        assert answer["mode"] == "RUN"
        assert Cause.KILL_SWITCH not in causes
        assert bot.latches.read() is None
    bot.close(clean=True)


def test_a_start_says_whose_positions_are_only_protected(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bot = into_a_position(folder)
    owners = {bot.engine.state.world.strategies[bot.engine.state.world.positions[k].strategy]
              for k in held(bot)}  # fmt: skip
    bot.close(clean=True)
    names = ("trend", "momentum", "reversion")
    left = [name for i, name in enumerate(names) if i not in owners]
    config = load_config(None, [*BUSY, f"strategies={left}".replace("'", '"')])
    source = synthetic_source(config, config.timeframe_ms, 16, None)
    with caplog.at_level(logging.WARNING):
        bot = recovered(config, source, folder)
    assert "is not configured any more: only its stop" in caplog.text
    pump(bot, 200)
    reasons = {trade.reason for trade in bot.journal.trades()}
    check_books(bot.engine.state, bot.venue.snapshot((), 0, bot.engine.state.now_ms))
    assert reasons
    bot.close(clean=True)
