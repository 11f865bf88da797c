"""`radbot status` and its neighbours: a bot of the test's own, a hung one and none at all."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pytest

from bot.adapters.control_socket import ControlServer
from bot.adapters.journal import Journal
from bot.adapters.latches import Latches
from bot.adapters.locks import InstanceLock
from bot.core.kernel.records import Trade
from bot.core.messages import Command, Operator, TradeClosed
from bot.core.summary import trade_row
from bot.shell import cli, emergency
from bot.shell.control import Commands, Request
from bot.shell.offline import finished_trades, run_identity
from bot.shell.status import describe
from bot.shell.tables import LINES, painter
from tests.support.states import Desk, make_state

ROOT = Path(__file__).parents[2]
type Answer = Callable[[Request], None]
RESUME = ["resume", "--reason", "checked"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory, by a short relative name: socket paths are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RADBOT_STATE", "state")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("SUDO_USER", "ann")
    Path("state").mkdir()
    return Path("state")


@pytest.fixture
def desk() -> Desk:
    """Two symbols; long 10 BTC under its stop, after a lost trade."""
    desk = Desk(make_state(2))
    desk.bars(101.0, 100.0)
    desk.accept("entry")
    desk.fill("entry", 10.0, 101.1)
    desk.accept("stop")
    desk.accept("target")
    return desk


TRADE = Trade(1_704_067_200_000, 1_704_070_800_000, 0, 1, -1, 5.0, 5.0, 100.0, 99.0, 0.6, 0.0, 4.4)
TRADE.reason = 4


@contextmanager
def running(folder: Path, desk: Desk, answer: Answer | None = None) -> Iterator[Commands]:
    """A bot whose loop does nothing but `answer` orders; without it the loop hangs."""
    ended = threading.Event()
    asked = threading.Event()
    latches = Latches(folder / "latches")
    commands = Commands(
        lambda reason, by: latches.pull("kill_switch", reason, by, 1),
        asked.set,
        keepalive_s=0.01,
        stored=lambda last: finished_trades(folder / "journal.sqlite3", last),
    )
    symbols = list(desk.state.symbols)
    commands.publish(describe(desk.state), [trade_row(TRADE, symbols)] * 3)

    def loop() -> None:
        while not ended.is_set():
            asked.wait()
            asked.clear()
            for request in commands.take() if answer is not None else ():
                answer(request)

    thread = threading.Thread(target=loop)
    thread.start()
    server = ControlServer(folder / "control.sock", commands.handle)
    try:
        yield commands
    finally:
        server.close()
        ended.set()
        asked.set()
        thread.join()


def journal(folder: Path, desk: Desk, trades: Sequence[Trade] = (TRADE,)) -> None:
    """Leave what a bot that has ended leaves."""
    written = Journal.open(folder / "journal.sqlite3", durable=False)
    written.begin_run("run-1", 1, run_identity(desk.state.world), desk.state)
    said = Operator(desk.now, Command.HALT, "for the journal")
    written.commit([(said, [TradeClosed(trade) for trade in trades])], desk.state)
    written.close(clean=True)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = cli.main(argv)
    return code, *capsys.readouterr()


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, *argv, "--json")
    [line] = out.splitlines()
    return code, json.loads(line)


@pytest.mark.parametrize("command", ["status", "positions", "balance", "trades"])
def test_answers_are_the_same_with_and_without_the_bot(
    command: str, folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(folder, desk)
    with running(folder, desk):
        code, live = run_json(capsys, command)
    assert (code, live.pop("source")) == (0, "bot")
    code, stored = run_json(capsys, command)
    assert (code, stored.pop("source")) == (0, "journal")
    assert stored.pop("note") == "the bot is not running"
    assert stored.pop("as_of_ms") == desk.now
    assert stored.pop("run_id") == "run-1"
    assert live.pop("stalled") is False
    assert live.pop("age_s") >= 0.0
    assert stored == live


def test_trades_are_those_of_the_journal_and_what_it_misses(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [replace(TRADE, entry_time=n) for n in range(260)]
    journal(folder, desk, made[:250])
    plain = [trade_row(trade, list(desk.state.symbols)) for trade in made]
    _, stored = run_json(capsys, "trades", "--last", "200")
    assert stored["trades"] == plain[50:250]
    with running(folder, desk) as commands:
        for published, last, expected in (
            (plain[150:250], 200, plain[50:250]),
            (plain[160:260], 200, plain[60:260]),  # the journal cannot be written at present
            (plain[160:260], 5, plain[255:260]),
            ([], 200, plain[50:250]),
        ):
            commands.publish(describe(desk.state), published)
            _, told = run_json(capsys, "trades", "--last", str(last))
            assert told["trades"] == expected


@pytest.mark.parametrize(
    ("command", "texts"),
    [
        ("status", ["RUN", "USDT", "BTC", "long", "101.1", "yes"]),
        ("positions", ["momentum", "stop", "target", "sell", "t-2-stop"]),
        ("balance", ["equity", "wallet", "largest drawdown"]),
        ("trades", ["2024-01-01 01:00", "short", "signal", "+4.40", "+13.20 USDT"]),
    ],
)
def test_tables_fit_and_align(
    command: str,
    texts: list[str],
    folder: Path,
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with running(folder, desk):
        code, out, err = run(capsys, command)
    assert (code, err) == (0, "")
    assert all(text in out for text in texts)
    assert max(map(len, out.splitlines())) <= 100
    assert "\x1b" not in out  # no terminal, no colour


def test_wide_numbers_still_fit(desk: Desk) -> None:
    wide = trade_row(TRADE, ["DOGE-USDT-PERP"]) | {
        "strategy": "ema_cross",
        "reason": "liquidation",
        "entry_price": 104_283.333,
        "exit_price": 104_283.333,
        "exit_time": TRADE.entry_time + 86_400_000 * 100,
        "pnl": -12_345.67,
    }
    told: dict[str, Any] = describe(desk.state) | {"source": "bot", "stalled": False}
    told["positions"][0] |= {
        "symbol": "DOGE-USDT-PERP",
        "contracts": 123_456.0,
        "notional": 1_234_567.89,
        "entry_price": 104_283.333,
        "mark": 104_283.333,
        "unrealised": -12_345.67,
        "stop_price": 104_283.333,
    }
    for command, lines in LINES.items():
        answer = {"trades": [wide]} if command == "trades" else told
        assert max(map(len, lines(answer, lambda text, colour: text))) <= 100


def test_answer_from_the_journal_is_marked(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(folder, desk)
    code, out, _ = run(capsys, "status")
    assert code == 0
    first = out.splitlines()[0]
    assert first.startswith("the bot is not running; from the journal, as of 2024-01-01 0")
    assert first.endswith(" UTC")


def test_journal_without_specs_says_what_it_can(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    written = Journal.open(folder / "journal.sqlite3", durable=False)
    written.begin_run("run-1", 1, {}, desk.state)
    written.close(clean=True)
    code, answer = run_json(capsys, "positions")
    [held] = answer["positions"]
    assert (code, held["contracts"], held["strategy"]) == (0, 10.0, "momentum")
    assert run(capsys, "positions")[0] == 0


def test_latch_shows_before_the_next_start_has_seen_it(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(folder, desk)
    Latches(folder / "latches").pull("kill_switch", "smoke", "bob", 5)
    code, answer = run_json(capsys, "status")
    assert (code, answer["mode"]) == (0, "FLATTEN")
    assert answer["latch"]["by"] == "bob"
    assert "by bob: smoke" in run(capsys, "status")[1]


def test_status_of_a_bot_that_never_ran(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "status")
    assert code == 0
    assert "not running" in out
    assert run(capsys, "balance")[0] == 75
    assert run(capsys, "status", "--state", "elsewhere")[0] == 2


def test_process_that_hangs_is_told_from_one_that_is_down(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(folder, desk)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as deaf:
        deaf.bind(os.fspath(folder / "control.sock"))
        deaf.listen(1)
        code, out, _ = run(capsys, "positions", "--timeout", "0.05")
    assert code == 75
    assert "does not answer within 0.05 s; from the journal" in out


def test_loop_that_stands_still_is_no_good_answer(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(folder, desk) as commands:
        told, trades, at = commands.published or ({}, [], 0.0)
        commands.published = (told, trades, at - 60.0)
        code, out, _ = run(capsys, "status")
    assert code == 75
    assert "loop stands still" in out


def obey(request: Request) -> None:
    request.answer({"closing": ["BTC-USDT-PERP"], "seconds": 0.01})
    request.finish({"flat": True, "seconds": 0.5, "mode": "FLATTEN"})


def test_kill_through_the_bot(folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Request] = []
    latched: list[bool] = []

    def answer(request: Request) -> None:
        seen.append(request)
        latched.append(Latches(folder / "latches").read() is not None)
        obey(request)

    with running(folder, desk, answer):
        code, out, _ = run(capsys, "kill", "--reason", "smoke")
    assert code == 0
    assert latched == [True]  # before the loop has heard of it
    assert (seen[0].fields["reason"], seen[0].fields["by"]) == ("smoke", "ann")
    assert "still open: BTC-USDT-PERP" in out
    assert "flat, verified, after 0.50 s" in out
    latch = Latches(folder / "latches").read()
    assert latch is not None
    assert (latch.reason, latch.by) == ("smoke", "ann")


class Exchange:
    """Stands for the emergency way, which has tests of its own."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.interrupted = False
        self.calls: list[tuple[Any, ...]] = []

    def flatten(
        self,
        state_dir: Path,
        reason: str,
        symbol: str | None,
        say: Callable[[str], None],
        credentials: Path | None,
    ) -> dict[str, object]:
        self.calls.append((state_dir, reason, symbol))
        say("killing it")
        if self.interrupted:
            raise KeyboardInterrupt
        return {"flat": True, "left": [], "seconds": 1.0, **self.answer}


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    made = Exchange()
    monkeypatch.setattr(emergency, "flatten", made.flatten)
    return made


def test_kill_of_a_dead_bot(
    folder: Path, exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = run_json(capsys, "kill")
    assert (code, answer["flat"], answer["through"]) == (0, True, "exchange")
    assert answer["latched"] is True
    assert exchange.calls == [(folder, "operator", None)]
    assert Latches(folder / "latches").read() is not None


def gone_reader() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def full_disk() -> TextIO:
    return Path("/dev/full").open("w", encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("broken", [gone_reader, full_disk])
@pytest.mark.parametrize("words", [["kill"], ["kill", "--json"], ["close", "BTC"]])
def test_a_kill_or_close_is_done_whatever_becomes_of_its_output(
    words: list[str],
    broken: Callable[[], TextIO],
    folder: Path,
    exchange: Exchange,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange.answer["flat"] = False
    with broken() as out, broken() as err:
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setattr("sys.stderr", err)
        code = cli.main(words)
    assert code == 75, "what is left is told by the exit code, too"
    assert len(exchange.calls) == 1
    assert (Latches(folder / "latches").read() is not None) == (words[0] == "kill")


def test_a_kill_needs_neither_input_nor_output(folder: Path) -> None:
    words = "-m bot kill --state state <&- >&- 2>&-"
    command = ["sh", "-c", f'exec "$0" {words}', sys.executable]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 2, "there is no account, so nothing was closed"
    assert Latches(folder / "latches").read() is not None


def test_a_character_that_the_terminal_does_not_have_costs_that_character_only(
    folder: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(folder, desk)
    Latches(folder / "latches").pull("kill_switch", "zu gro\u00df", "ann", 1)
    seen = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(seen, encoding="ascii"))
    assert cli.main(["status"]) == 0
    assert b"zu gro?" in seen.getvalue()


def test_a_kill_that_could_not_be_latched_says_so(
    folder: Path,
    exchange: Exchange,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Latches, "pull", full)
    code, answer = run_json(capsys, "kill")
    assert (code, answer["flat"], answer["latched"]) == (75, True, False)
    _, out, err = run(capsys, "kill")
    assert "NOT LATCHED" in err
    assert "latched" not in out


def test_what_goes_wrong_is_told_to_machines_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = run_json(capsys, "resume", "--reason", " ")
    assert (code, answer["code"]) == (2, 2)
    assert answer["error"].startswith("resume: expected --reason TEXT")
    code, answer = run_json(capsys, "halt", "--reason", "nobody is there")
    assert (code, answer["code"]) == (75, 75)


def test_kill_of_a_bot_whose_loop_hangs(
    folder: Path, desk: Desk, exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(folder, desk):
        code, out, _ = run(capsys, "kill", "--timeout", "0.05")
    assert code == 0
    assert "did not take the order within 0.05 s: closing over the exchange" in out
    assert len(exchange.calls) == 1


def test_kill_that_leaves_something_says_so(
    folder: Path, exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange.answer = {"flat": False, "left": ["ETH-USDT-PERP"]}
    code, _, err = run(capsys, "kill")
    assert code == 75
    assert "NOT FLAT: left: ETH-USDT-PERP" in err


@pytest.mark.parametrize("words", [("kill",), ("close", "BTC")], ids=" ".join)
def test_ctrl_c_is_not_taken_for_flat(
    folder: Path, exchange: Exchange, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    exchange.interrupted = True
    code, _, err = run(capsys, *words)
    assert code == 75
    assert "NOT FLAT: left: not known (interrupted: what was begun may still happen" in err
    assert (Latches(folder / "latches").read() is not None) == (words[0] == "kill")


def ctrl_c(_: Request) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_while_the_bot_closes_is_not_taken_for_flat(
    folder: Path, desk: Desk, exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(folder, desk, ctrl_c):
        code, _, err = run(capsys, "kill")
    assert (code, exchange.calls) == (75, [])
    assert "NOT FLAT: left: not known (interrupted" in err


def test_ctrl_c_ends_whatever_else_with_a_word(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(folder, desk, ctrl_c):
        code, _, err = run(capsys, "halt")
    assert (code, err) == (1, "radbot: interrupted\n")


def test_kill_founds_nothing_where_no_bot_is(
    folder: Path, exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ("kill", "--state", "typo", "--socket", "s")
    assert run(capsys, *argv)[0] == 2
    assert not Path("typo").exists()
    assert exchange.calls == []


@pytest.mark.parametrize("name", ["BTC", "btc", "BTC-USDT-PERP", "BTC/USDT:USDT"])
def test_close_knows_every_form_of_a_name(
    name: str, folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> None:
        seen.append(request)
        obey(request)

    with running(folder, desk, answer):
        assert run(capsys, "close", name)[0] == 0
    assert [request.fields["symbol"] for request in seen] == ["BTC-USDT-PERP"]
    assert Latches(folder / "latches").read() is None


def test_close_of_a_dead_bot(
    folder: Path, desk: Desk, exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(folder, desk)
    assert run(capsys, "close", "eth", "--reason", "r")[0] == 0
    assert exchange.calls == [(folder, "r", "ETH-USDT-PERP")]


def test_close_of_an_unknown_symbol_lists_the_known(
    folder: Path, desk: Desk, exchange: Exchange, capsys: pytest.CaptureFixture[str]
) -> None:
    journal(folder, desk)
    code, _, err = run(capsys, "close", "DOGE")
    assert code == 2
    assert "expected one of BTC-USDT-PERP, ETH-USDT-PERP, was 'DOGE'" in err
    assert exchange.calls == []


def test_resume_and_halt_through_the_bot(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(folder, desk, lambda request: request.finish({"mode": "RUN"})):
        code, out, _ = run(capsys, *RESUME)
        assert code == 0
        assert "by ann, mode RUN: checked" in out
        assert run_json(capsys, "halt")[1]["mode"] == "RUN"


def test_resume_wants_a_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "resume")
    assert code == 2
    assert "expected --reason TEXT" in err


def test_resume_of_a_dead_bot_waits_for_its_start(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latches = Latches(folder / "latches")
    latches.pull("kill_switch", "smoke", "bob", 5)
    assert run(capsys, *RESUME)[0] == 0
    assert latches.read() is None
    left = latches.take_resume()
    assert left is not None
    assert (left.reason, left.by) == ("checked", "ann")


def test_resume_of_a_bot_that_is_just_starting_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latches = Latches(folder / "latches")
    latches.pull("kill_switch", "smoke", "bob", 5)
    lock = InstanceLock.acquire(folder / "lock", {})
    try:
        assert run(capsys, *RESUME)[0] == 75
    finally:
        lock.release()
    assert latches.read() is not None


def test_halt_of_a_dead_bot_cannot_be(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "halt")
    assert (code, "not running" in err) == (75, True)


def test_bot_on_a_host_is_found_by_its_note(
    folder: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    (folder / "lock").write_text(json.dumps({"socket": "run/control.sock"}))
    with running(Path("run"), desk):
        assert run_json(capsys, "status")[1]["source"] == "bot"


class Terminal:
    """A terminal as far as commands ask; without a line somebody presses Ctrl-C."""

    def __init__(self, typed: str | None = "") -> None:
        self.typed = typed

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        if self.typed is None:
            raise KeyboardInterrupt
        return self.typed


@pytest.mark.parametrize(
    ("typed", "options", "killed"),
    [
        ("y\n", [], 1),
        ("\n", [], 0),
        ("", [], 0),
        ("no\n", [], 0),
        (None, [], 0),
        ("", ["--yes"], 1),
    ],
)
def test_person_at_a_terminal_is_asked(
    typed: str | None,
    options: list[str],
    killed: int,
    folder: Path,
    exchange: Exchange,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    code, _, err = run(capsys, "kill", *options)
    assert len(exchange.calls) == killed
    assert code == (0 if killed else 2)
    assert ("[y/N]" in err) == (not options)
    assert (Latches(folder / "latches").read() is not None) == bool(killed)


def test_colours_only_for_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen: Any = Terminal()
    assert painter(screen)("x", "\x1b[31m") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "")
    assert painter(screen)("x", "\x1b[31m") == "x"


def test_a_kill_does_not_wait_for_what_only_trading_needs() -> None:
    """To load all of it takes as long again as the rest of the command."""
    program = "import sys, bot.shell.cli, ops.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    unwanted = {"pydantic", "ccxt", "tqdm", "numpy", "bot.shell.service", "bot.shell.config"}
    assert unwanted & set(done.stdout.split()) == set()
