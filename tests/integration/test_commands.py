"""The two programs as a user starts them: real processes, real files, exit codes and messages."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.history import load_market
from bot.core.market import Candles
from bot.shell.cli import main as radbot
from bot.sim.markets import MarketModel, SyntheticMarket
from ops.cli import main as radops

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
HOUR = 3_600_000
COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP", "XRP-USDT-PERP")


def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def write_candles(folder: Path, candles: Candles, timeframe: str, skip: int = 0) -> None:
    """Write candles as the contract says, dropping every `skip`-th bar to make holes."""
    rows = ["timestamp,open,high,low,close,volume"]
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    for i, open_ms in enumerate(candles.timestamp):
        if skip == 0 or i % skip != 1:
            rows.append(",".join([str(open_ms), *(repr(column[i]) for column in columns)]))
    (folder / f"{candles.symbol}-{timeframe}.csv").write_text("\n".join(rows) + "\n")


def make_data(folder: Path, timeframe_ms: int, timeframe: str, bars: int, holes: bool) -> None:
    """Write a synthetic market; with `holes` one symbol misses bars and one starts later."""
    model = MarketModel(
        seed=7, symbols=SYMBOLS, timeframe_ms=timeframe_ms, start_ms=1_700_006_400_000
    )
    for k, candles in enumerate(SyntheticMarket(model).market_data(bars).candles):
        late = bars // 3 if holes and k == 2 else 0
        columns = [getattr(candles, name)[late:] for name in COLUMNS]
        cut = Candles(candles.symbol, *columns)
        write_candles(folder, cut, timeframe, skip=17 if holes and k == 1 else 0)


def outcome(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON object a command printed, without the one number that is about the
    machine."""
    assert result.returncode == 0, result.stderr
    printed: dict[str, Any] = json.loads(result.stdout)
    del printed["elapsed_s"]
    return printed


def assert_paper_equals_backtest(tmp_path: Path, options: list[str], least: int) -> dict[str, Any]:
    """Run paper and all backtest engines on the same input; return what they all printed."""
    lists = {name: tmp_path / f"{name}.csv" for name in ("paper", "plain", "compiled", "auto")}
    paper = outcome(
        run(
            "bot",
            "paper",
            "--market",
            "replay",
            "--speed",
            "max",
            "--json",
            "--trades",
            str(lists["paper"]),
            *options,
        )
    )
    for engine in ("plain", "compiled", "auto"):
        words = ["--engine", engine, "--json", "--trades", str(lists[engine])]
        assert outcome(run("ops", "backtest", *words, *options)) == paper
        assert lists[engine].read_bytes() == lists["paper"].read_bytes()
    assert paper["trades"] >= least
    assert paper["metrics"]["collisions_unresolved"] == 0
    return paper


@pytest.mark.parametrize(
    ("timeframe", "timeframe_ms", "holes"),
    [("1h", HOUR, False), ("1h", HOUR, True), ("15m", HOUR // 4, True), ("5m", HOUR // 12, False)],
)
def test_paper_and_backtest_print_the_same(
    tmp_path: Path, timeframe: str, timeframe_ms: int, holes: bool
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_data(data, timeframe_ms, timeframe, 2_500, holes)
    options = ["--data", str(data), "--symbols", ",".join(SYMBOLS), "--timeframe", timeframe]
    options += ["--set", "risk.drawdown_limit=0.9", "--set", "risk.fast_drawdown_limit=0.9"]
    printed = assert_paper_equals_backtest(tmp_path, options, least=10)
    assert printed["funding_source"] == "assumed"


@pytest.mark.skipif(not SHARED.is_dir(), reason="REAL DATA MISSING: ../shared/data is not there")
def test_paper_and_backtest_agree_on_a_real_year(tmp_path: Path) -> None:
    options = [
        "--data",
        str(SHARED / "binance-perp"),
        "--data",
        str(SHARED / "binance-perp-funding"),
    ]
    options += ["--symbols", ",".join(SYMBOLS), "--timeframe", "1h"]
    options += ["--start", "2024-01-01", "--end", "2025-01-01"]
    printed = assert_paper_equals_backtest(tmp_path, options, least=10)
    assert printed["bars"] == 3 * 8_784
    assert printed["funding_source"] == "file"
    loose = ["--set", "risk.drawdown_limit=0.9", "--set", "risk.fast_drawdown_limit=0.9"]
    assert_paper_equals_backtest(tmp_path, options + loose, least=100)


def test_backtest_works_where_numba_is_not_installed(recorded: Path) -> None:
    """`auto` falls back to plain Python with the same result; asking for `compiled` is refused."""
    words = ["--data", str(recorded), "--symbols", SYMBOLS[0], "--timeframe", "1h", "--json"]
    hidden = "import sys; sys.modules['numba'] = None; import ops.research.backtest as b; "
    hidden += "b.PLAIN_BARS = 0; from ops.cli import main; sys.exit(main(sys.argv[1:]))"

    def without_numba(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", hidden, "backtest", *words, *more]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )

    assert outcome(without_numba()) == outcome(run("ops", "backtest", *words, "--engine", "plain"))
    refused = without_numba("--engine", "compiled")
    assert refused.returncode == 2
    assert "Numba" in refused.stderr


def test_the_embedded_market_asks_for_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert radbot(["paper", "--speed", "max", "--for", "1h", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["spec_source"], told["warnings"]) == ("synthetic", [])


def test_the_embedded_market_trades_within_a_minute_at_the_default_speed(tmp_path: Path) -> None:
    """Sixty one-minute bars are a minute at speed 60; virtual time shows the same hour at once."""
    result = run("bot", "paper", "--speed", "max", "--for", "60m", "--json", cwd=tmp_path)
    assert outcome(result)["trades"] >= 1


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    words = ("bot", "paper", "--speed", "max", "--for", "6h", "--json", "--seed")
    first = outcome(run(*words, "5", cwd=tmp_path))
    assert outcome(run(*words, "5", cwd=tmp_path)) == first
    assert outcome(run(*words, "6", cwd=tmp_path)) != first


def test_ctrl_c_ends_a_paper_run_cleanly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "paper", "--speed", "600"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "logs" / "bot.log"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.is_file() and log.stat().st_size):
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "stopped" in out
    assert "Final equity" in out


BAD_INPUT = [
    (["--set", "risk.daily_los_limit=0.1"], "daily_loss_limit"),
    (["--balance", "-5"], "balance"),
    (["--balance", "nan"], "balance"),
    (["--start", "2024-02-01", "--end", "2024-01-01"], "start must be before end"),
    (["--start", "yesterday"], "2024-01-01"),
    (["--start", "\u00b2" * 12], "2024-01-01"),
    (["--start", "2031-01-01", "--end", "2032-01-01"], "BTC-USDT-PERP"),
    (["--symbols", "BTC-USDT-PERP,BTC/USDT:USDT"], "BTC-USDT-PERP"),
    (["--symbols", "BTC-USDT-PERP,DOGE-USDT-PERP"], "DOGE-USDT-PERP"),
    (["--symbols", "bitcoin"], "BTC-USDT-PERP"),
    (["--timeframe", "7m"], "1m"),
    (["--strategies", "trend,astrology"], "astrology"),
    (["--strategies", "ema_cross,trend"], "ema_cross"),
    (["--data", "no/such/folder"], "no/such/folder"),
    (["--config", "no/such/file.yml"], "no/such/file.yml"),
    (["--trades", "no/such/folder/t.csv"], "no/such/folder"),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    make_data(folder, HOUR, "1h", 300, False)
    return folder


PROGRAMS = (
    (radops, ["backtest"]),
    (radbot, ["paper", "--market", "replay", "--speed", "max"]),
)


@pytest.mark.parametrize(("options", "said"), BAD_INPUT, ids=lambda value: str(value)[:40])
def test_bad_input_is_refused_with_a_message(
    recorded: Path,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["--data", str(recorded), "--symbols", "BTC-USDT-PERP", "--timeframe", "1h", *options]
    for main, command in PROGRAMS:
        code = exit_code(main, [*command, *words])
        told = capsys.readouterr()
        assert (code, told.out) == (2, "")
        assert said in told.err


def exit_code(main: Callable[[Sequence[str]], int], words: list[str]) -> int:
    """Return what a program ends with that is called here, without a process of its own."""
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code)  # type: ignore[arg-type]


BAD_CANDLES = [
    ("1700006400000,1,1,1,1,1\n1700002800000,1,1,1,1,1\n", "3"),
    ("1700006400000,1,nan,1,1,1\n", "2"),
    ("1700006400000,1,1,1\n", "2"),
    ("", "1h"),
]


@pytest.mark.parametrize(("rows", "said"), BAD_CANDLES)
def test_bad_candles_are_refused_with_file_and_line(tmp_path: Path, rows: str, said: str) -> None:
    file = tmp_path / "BTC-USDT-PERP-1h.csv"
    file.write_text("timestamp,open,high,low,close,volume\n" + rows)
    words = ["--data", str(tmp_path), "--symbols", "BTC-USDT-PERP", "--timeframe", "1h"]
    result = run("ops", "backtest", *words)
    assert result.returncode == 2
    assert file.name in result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_validate_config_reports_every_error_at_once(tmp_path: Path) -> None:
    file = tmp_path / "radbot.yml"
    file.write_text("timeframe: 1h\nbalance: -1\nrisk:\n  daily_loss_limit: 3\ncolour: red\n")
    result = run("bot", "validate-config", str(file))
    assert result.returncode == 2
    for line, key in ((2, "balance"), (4, "risk.daily_loss_limit"), (5, "colour")):
        assert f"radbot.yml:{line}: {key}" in result.stderr
    good = run("bot", "validate-config", "config/paper.yml")
    assert (good.returncode, good.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_that_takes_no_output_is_said_in_a_line() -> None:
    with Path("/dev/full").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "bot", "validate-config", "config/paper.yml"],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "radbot: cannot be written: No space left on device\n"


def test_the_loader_reads_what_the_tests_write(recorded: Path) -> None:
    data = load_market([recorded], SYMBOLS, "1h", None, None)
    assert data.bars() == 900
