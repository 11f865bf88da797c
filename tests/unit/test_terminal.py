"""How a run is shown: to a person, to a service manager, and into a file."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.voice import Voice
from bot.core.messages import Level, Notice, Tick
from bot.shell.engine import Engine
from bot.shell.terminal import Terminal, open_terminal
from bot.sim.paper_market import PaperMarket
from tests.support.paper import market_data
from tests.support.states import make_state
from tests.support.worlds import bars_of, market_of

SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP")
SECRET = "hush-hush-hush"


@pytest.fixture(autouse=True)
def loggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave no handler behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    names = (None, "radbot.notices", "radbot.foreground")
    before = [(logging.getLogger(n), list(logging.getLogger(n).handlers)) for n in names]
    level, disabled = logging.getLogger().level, logging.getLogger("radbot.notices").disabled
    yield
    for logger, handlers in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
    logging.getLogger().setLevel(level)
    logging.getLogger("radbot.notices").disabled = disabled


def note(terminal: Terminal, text: str) -> None:
    terminal.show(Tick(0), [Notice(0, Level.WARNING, "x", 1, text)])


def test_a_person_sees_lines_and_a_file_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = open_terminal(SYMBOLS, as_json=False, lasting=True, secrets=[SECRET])
    note(terminal, f"key is {SECRET}")
    assert capsys.readouterr().out == f"1970-01-01 00:00  ETH  WARNING key is {SECRET}\n"
    kept = Path("logs/bot.log").read_text(encoding="utf-8")
    assert kept.endswith("ETH  WARNING key is [redacted]\n")


def test_a_folder_that_cannot_be_written_is_told_and_costs_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("logs").write_text("a file where the folder should be", encoding="utf-8")
    note(open_terminal(SYMBOLS, as_json=False, lasting=True), "hello")
    said = capsys.readouterr()
    assert said.err.startswith("warning: no log file: ")
    assert "hello" in said.out


def test_under_a_service_manager_there_is_no_file_and_nothing_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    note(open_terminal(SYMBOLS, as_json=False, lasting=True), "hello")
    assert capsys.readouterr().out == ""
    assert not Path("logs").exists()
    assert not logging.getLogger("radbot.notices").disabled


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("kind", "row"), [("xterm", 59), ("dumb", 0)])
def test_the_status_line_is_one_row_of_a_terminal_that_can_take_it_back(
    kind: str, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has wrapped into a second row stays on the screen, once for each bar."""
    for name, value in (("TERM", kind), ("COLUMNS", "60"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    state = make_state(2)
    account, data = state.world.account, market_data(market_of(bars_of([100.0])))
    market = PaperMarket(state.world.params, state.world.specs, account.deposits, data.rows())
    state.now_ms += 60_000  # no full hour
    screen = Screen()
    Terminal(SYMBOLS, False, Voice(screen), None).bar(Engine(state, market))
    assert len(screen.getvalue()) == row


def test_a_run_in_virtual_time_keeps_no_file() -> None:
    note(open_terminal(SYMBOLS, as_json=True, lasting=False), "hello")
    assert not Path("logs").exists()


@pytest.mark.parametrize("lasting", [True, False])
def test_only_what_runs_in_real_time_leaves_lines_out(lasting: bool) -> None:
    assert open_terminal(SYMBOLS, as_json=False, lasting=lasting).out.patient is not lasting


def test_an_output_that_breaks_is_not_written_to_any_more() -> None:
    class Broken(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            Broken.writes += 1
            raise OSError(28, "No space left on device")

    terminal = Terminal(SYMBOLS, False, Voice(Broken(), patient=False), None)
    note(terminal, "one")
    note(terminal, "two")
    terminal.stopped(True)
    assert Broken.writes == 1


@pytest.mark.parametrize(("flat", "said"), [(True, "nothing is open"), (False, "stay as they are")])
def test_a_stop_says_what_is_left(flat: bool, said: str) -> None:
    out = io.StringIO()
    Terminal(SYMBOLS, False, Voice(out), None).stopped(True, flat=flat)
    assert said in out.getvalue()
