"""Thirty virtual days: a bot that is restarted every few hours, half of the times by kill -9, ends
to the bit where one ends that never was; its memory, its tables and its files do not grow.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bot.adapters.database_file import LOG_BYTES
from bot.adapters.journal_schema import BOUNDS
from bot.shell.config import load_config
from bot.shell.paper import synthetic_source
from ops.research.bench_process import resident_mb
from tests.support.counts import Count
from tests.support.crash import in_child
from tests.support.lasting import recovered, replayed

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
SMALL = {
    "runs": 40,
    "events": 20_000,
    "intents": 400,
    "trades": 100,
    "daily": 20,
    "checkpoints": 20,
}
"""bounds of the bot in pieces, each less than the thirty days bring: every one is reached. That of
fills stays: it has to be above the number of fills that a bot remembers"""
MOST_BYTES = {
    "journal.sqlite3": 30_000_000,
    "journal.sqlite3-wal": 3 * LOG_BYTES // 2,
    "paper.sqlite3": 1_500_000,
    "paper.sqlite3-wal": LOG_BYTES,
    "outbox": 1_000_000,
}
ROOT = Path(__file__).parents[2]


def live(folder: Path, bars: int, *, clean: bool) -> None:
    """Start, trade for some bars, end in order or not at all."""
    config = load_config(None, SETTINGS)
    source = synthetic_source(config, config.timeframe_ms, SEED, None)
    bot = recovered(config, source, folder)
    for _ in range(bars):
        bot.engine.pump(bot.venue.next_ms() or 0)
        bot.journal.cut_log()  # as the daemon does
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


def sizes_of(folder: Path) -> dict[str, int]:
    """Return how large the files of a state directory are, bytes."""
    found = dict.fromkeys(MOST_BYTES, 0)
    for path in folder.rglob("*"):
        name = "outbox" if path.parent.name == "outbox" else path.name
        if name in found:
            with suppress(FileNotFoundError):
                found[name] += path.stat().st_size
    return found


def curve(folder: Path) -> list[tuple[int, float]]:
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as db:
        rows: list[tuple[int, float]] = db.execute(
            "SELECT now_ms, equity FROM equity ORDER BY n"
        ).fetchall()
    return rows


def rows_in(folder: Path, tables: Iterable[str]) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as db:
        count = "SELECT count(*) FROM"
        return {table: db.execute(f"{count} {table}").fetchone()[0] for table in tables}


def test_thirty_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    sizes: list[float] = []
    largest = dict.fromkeys(MOST_BYTES, 0)
    for table, bound in SMALL.items():  # of the pieces, which are forked
        monkeypatch.setitem(BOUNDS, table, bound)  # type: ignore[arg-type]
    began = time.monotonic()
    with uninterrupted(tmp_path / "whole", tmp_path) as process:
        done = starts = 0
        while done < BARS:
            bars = min(PIECES[starts % len(PIECES)], BARS - done)
            clean = starts % 2 == 0
            assert in_child(lambda: live(tmp_path / "pieces", bars, clean=clean)) == 0  # noqa: B023
            done, starts = done + bars, starts + 1
            for folder in ("whole", "pieces"):
                for name, size in sizes_of(tmp_path / folder).items():
                    largest[name] = max(largest[name], size)
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
    assert len(sizes) > starts // 3, "the uninterrupted run was over too soon to be measured"
    half = sizes[len(sizes) // 2 :]
    growth = max(half) - half[0]
    Count("thirty virtual days").add(
        starts=starts, trades=trades, seconds=int(seconds), growth_kb=int(growth * 1000)
    )
    Count("largest files of thirty days, kB").add(
        **{name: size // 1000 for name, size in largest.items()}
    )
    assert growth < MOST_GROWTH_MB, sizes
    twice = {"checkpoints": 2 * SMALL["checkpoints"]}  # those of starts, and those of days
    assert rows_in(tmp_path / "pieces", SMALL) == SMALL | twice
    assert {name for name, size in largest.items() if size > MOST_BYTES[name]} == set(), largest
    assert replayed(tmp_path / "pieces") > 0
