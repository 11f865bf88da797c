"""What stands around the daemon: its limits, its identity, its timing, its reload."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.line_state import LineState
from bot.adapters.systemd import Notifier
from bot.core.errors import InputError
from bot.core.messages import Configured, Effect, Event
from bot.shell.assemble import Bot, open_paper_bot
from bot.shell.config import Config, load_config
from bot.shell.control import Commands
from bot.shell.daemon import Parts
from bot.shell.paper import synthetic_source
from bot.shell.paper_venue import PaperVenue
from bot.shell.service import (
    MEMORY_LIMIT,
    Reloader,
    TimingError,
    Wish,
    build_parts,
    check_timing,
    program_version,
)
from bot.shell.stop import Stop
from bot.shell.telemetry import Telemetry, resident_bytes
from tests.support.pictures import IDENTITY

SETTINGS = [
    "symbols=[BTC-USDT-PERP]",
    "warmup_bars=1",
    "timeframe=5m",
    "timing.bar_wait_s=6",
    "timing.snapshot_s=8",
    "timing.uncovered_close_s=13",
]
CONFIG = load_config(None, SETTINGS)


@pytest.fixture
def bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bot[PaperVenue]]:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    source = synthetic_source(CONFIG, CONFIG.timeframe_ms, 1, None)
    made = open_paper_bot(CONFIG, source, tmp_path / "s", durable=False, speed=10.0)
    yield made
    made.close(clean=True)


def parts_of(bot: Bot[PaperVenue], folder: Path, speed: float | None) -> Parts:
    wish = Wish(folder, None, 0, lambda: CONFIG, speed)
    with Stop() as stop:
        return build_parts(
            bot,
            CONFIG,
            wish,
            Notifier(None, None),
            stop,
            Telemetry(IDENTITY),
            Commands(lambda reason, by: False),
        )


def test_the_deadlines_are_those_of_the_configuration(bot: Bot[PaperVenue], tmp_path: Path) -> None:
    own = {"account": 8.0 + 20.0, "protection": 13.0 + 10.0, "journal": 10.0}
    parts = parts_of(bot, tmp_path, 10.0)
    assert parts.progress.limits == {**own, "cycle": 300.0 / 10.0 + 6.0 + 10.0}
    assert parts.snapshot_s == 8.0
    assert parts_of(bot, tmp_path, None).progress.limits == {**own, "cycle": 300.0 + 6.0 + 10.0}


def test_a_market_beyond_a_line_must_bring_data(
    bot: Bot[PaperVenue], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = LineState(answers=0, budget=1.0, clock_offset_s=0.0)
    monkeypatch.setattr(bot.venue, "line", lambda: state)
    parts = parts_of(bot, tmp_path, 1.0)
    assert parts.progress.limits["data"] == 2 * 300.0 + 6.0 + 10.0
    assert parts.line() is state


def test_the_process_has_a_limit_to_its_memory(bot: Bot[PaperVenue], tmp_path: Path) -> None:
    parts = parts_of(bot, tmp_path, 1.0)
    assert parts.memory_limit == MEMORY_LIMIT == 1_750 * 2**20
    assert parts.resident is resident_bytes


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert program_version() == project["version"] != "0"


@pytest.mark.parametrize("watchdog_s", [None, 20.0])
def test_a_service_manager_with_the_configured_timing_is_fine(watchdog_s: float | None) -> None:
    check_timing(CONFIG, watchdog_s)


@pytest.mark.parametrize("watchdog_s", [19.0, 30.0])
def test_a_service_manager_with_another_timing_is_refused(watchdog_s: float) -> None:
    with pytest.raises(TimingError, match="expected WatchdogSec=20") as caught:
        check_timing(CONFIG, watchdog_s)
    assert caught.value.exit_code == 78


class Reloads:
    """A Reloader whose file can be changed."""

    def __init__(self, bot: Bot[PaperVenue]) -> None:
        self.events: list[Event] = []
        bot.engine.listener = self.heard
        self.config: Config | None = None
        self.reloader = Reloader(bot.engine, CONFIG, self.reread, Telemetry(dict(IDENTITY)))

    def heard(self, event: Event, _effects: list[Effect]) -> None:
        self.events.append(event)

    def reread(self) -> Config:
        if self.config is None:
            raise InputError("unreadable")
        return self.config

    def reload(self, *settings: str) -> None:
        self.config = load_config(None, [*SETTINGS, *settings])
        self.reloader.reload()


def test_what_a_reload_cannot_change_is_refused_whole(
    bot: Bot[PaperVenue], caplog: pytest.LogCaptureFixture
) -> None:
    reloads = Reloads(bot)
    for setting in ("timing.watchdog_s=30", "exchange.timeout_s=4", "paper.seed=2", "balance=5"):
        reloads.reload(setting, "risk.max_positions=1")
        assert f"{setting.partition('.')[0].partition('=')[0]} need a restart" in caplog.text
    assert reloads.events == []
    assert reloads.reloader.config is CONFIG


def test_a_reload_changes_what_a_stop_does(bot: Bot[PaperVenue]) -> None:
    reloads = Reloads(bot)
    reloads.reload("on_stop=close")
    [event] = reloads.events
    assert isinstance(event, Configured)
    assert reloads.reloader.config.on_stop == "close"
