"""Thirty virtual days: a bot that is restarted every few hours, half of the times by kill -9, ends
to the bit where one ends that never was; its memory and its tables do not grow.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from bot.adapters.journal_reader import JournalReader
from bot.adapters.journal_schema import BOUNDS
from bot.shell.config import load_config
from bot.shell.paper import synthetic_source
from bot.shell.replay import replay
from tests.support.counts import Count
from tests.support.crash import in_child
from tests.support.lasting import recovered

SETTINGS = [
    'symbols=["BTC-USDT-PERP","ETH-USDT-PERP"]',
    "risk.drawdown_limit=0.9",
    "risk.fast_drawdown_limit=0.9",
    "risk.daily_loss_limit=0.9",
]
SEED = 16
DAYS = 30
BARS = DAYS * 24 * 60
PIECES = (290, 391, 517)  # bars from start to end of a process, in turn: five to nine hours
MOST_GROWTH_MB = 2.0  # over the second half, where caches are full: noise of the allocator
ROOT = Path(__file__).parents[2]


def live(folder: Path, bars: int, *, clean: bool) -> None:
    """Start, trade for some bars, end in order or not at all."""
    config = load_config(None, SETTINGS)
    source = synthetic_source(config, config.timeframe_ms, SEED, None)
    bot = recovered(config, source, folder)
    for _ in range(bars):
        bot.engine.pump(bot.venue.next_ms() or 0)
    if not clean:
        os._exit(0)  # nothing is closed, as after kill -9
    bot.close(clean=True)


def uninterrupted(folder: Path, locks: Path) -> subprocess.Popen[str]:
    """Begin the same life as one real process."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["--speed", "max", "--for", f"{DAYS * 24}h", "--seed", str(SEED), "--json"]
    words += ["--metrics-port", "0"]
    return subprocess.Popen(
        [sys.executable, "-m", "bot", "paper", *words, *settings, "--state", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RADBOT_LOCK_DIR": str(locks)},
        stdout=subprocess.PIPE,
        text=True,
    )


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def curve(folder: Path) -> list[tuple[int, float]]:
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as db:
        rows: list[tuple[int, float]] = db.execute(
            "SELECT now_ms, equity FROM equity ORDER BY n"
        ).fetchall()
        for table, bound in BOUNDS.items():
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] <= bound, table
    return rows


def test_thirty_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    sizes: list[float] = []
    began = time.monotonic()
    with uninterrupted(tmp_path / "whole", tmp_path) as process:
        done = starts = 0
        while done < BARS:
            bars = min(PIECES[starts % len(PIECES)], BARS - done)
            clean = starts % 2 == 0
            assert in_child(lambda: live(tmp_path / "pieces", bars, clean=clean)) == 0  # noqa: B023
            done, starts = done + bars, starts + 1
            if process.poll() is None:
                sizes.append(resident_mb(process.pid))
        said, _ = process.communicate(timeout=300.0)
    seconds = time.monotonic() - began
    assert process.returncode == 0

    whole, pieces = curve(tmp_path / "whole"), curve(tmp_path / "pieces")
    assert len(whole) == BARS
    assert pieces == whole
    trades = json.loads(said)["trades"]
    assert trades > 200
    half = sizes[len(sizes) // 2 :]
    growth = max(half) - half[0]
    Count("thirty virtual days").add(
        starts=starts, trades=trades, seconds=int(seconds), growth_kb=int(growth * 1024)
    )
    assert growth < MOST_GROWTH_MB, sizes
    with closing(JournalReader(tmp_path / "pieces" / "journal.sqlite3")) as reader:
        result = replay(reader)
    assert result.different == 0, result.differences[:2]
