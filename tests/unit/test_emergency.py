"""A kill of a simulated account whose bot is dead: what counts is what its file holds."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.locks import LockedError
from bot.adapters.paper_store import KEPT, PaperStore, PaperStoreError
from bot.core.messages import CancelOrder, Cycle, OrderFilled, PlaceOrder, Role
from bot.shell import emergency
from bot.shell.build import build_world
from bot.shell.config import load_config
from bot.shell.paper import synthetic_source
from bot.shell.paper_venue import PaperVenue, open_paper_venue

ROOT = Path(__file__).parents[2]
CONFIG = load_config(None, ["symbols=[BTC-USDT-PERP]", "warmup_bars=1", "timeframe=5m"])
SOURCE = synthetic_source(CONFIG, CONFIG.timeframe_ms, 1, None)


@contextmanager
def exchange(folder: Path) -> Iterator[PaperVenue]:
    """The simulated exchange of a state directory, as its bot has it open."""
    world = build_world(CONFIG, SOURCE.specs, SOURCE.start_ms)
    store = PaperStore(folder / "paper.sqlite3", durable=False)
    venue, _ = open_paper_venue(
        store, world.params, world.specs, 10_000.0, SOURCE.identity, SOURCE.stream
    )
    try:
        yield venue
    finally:
        venue.close()


def enter(venue: PaperVenue) -> int:
    """Let the bot be long 3 contracts under a stop; return the market time."""
    now = venue.next_ms() or 0
    while not isinstance(venue.poll(now), Cycle):
        pass
    venue.submit(PlaceOrder("p-1-entry", 0, Role.ENTRY, 1, 3.0, 90_000.0, 1.0), now)
    while not isinstance(venue.poll(now), OrderFilled):
        pass
    assert venue.poll(now) is None
    venue.submit(PlaceOrder("p-1-stop", 0, Role.STOP, -1, 3.0, 30_000.0, 1.0), now)
    return now


def stored(folder: Path) -> tuple[float, list[str]]:
    """Return the contracts and the orders in the exchange's own file."""
    with closing(PaperStore(folder / "paper.sqlite3", durable=False)) as store:
        market: Any = store.read("market")
    names = [order["client_id"] for order in market["orders"]]
    return market["held"][0]["contracts"], names


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "paper.sqlite3", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


def test_what_is_reported_flat_is_flat_in_the_file(tmp_path: Path) -> None:
    with exchange(tmp_path) as venue:
        enter(venue)
    assert stored(tmp_path) == (3.0, ["p-1-stop"])
    said: list[str] = []
    done = emergency.flatten(tmp_path, "drill", say=said.append)
    assert (done["flat"], done["closed"], done["cancelled"]) == (True, ["BTC-USDT-PERP"], 1)
    assert "note" not in done
    assert [line.split(":")[0] for line in said] == ["closed BTC-USDT-PERP"]
    assert stored(tmp_path) == (0.0, [])


def test_an_account_that_cannot_be_written_is_not_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emergency, "BUSY_MS", 1)
    with exchange(tmp_path) as venue:
        enter(venue)
    said: list[str] = []
    with locked(tmp_path):
        done = emergency.flatten(tmp_path, "drill", say=said.append)
        assert (done["flat"], done["left"], done["closed"]) == (False, ["BTC-USDT-PERP"], [])
        assert (done["cancelled"], said) == (0, [])
        assert "cannot be written (database is locked)" in str(done["note"])
        assert stored(tmp_path) == (3.0, ["p-1-stop"])
    assert emergency.flatten(tmp_path, "drill", say=said.append)["flat"] is True
    assert stored(tmp_path) == (0.0, [])


HOLD = (
    "import signal, sys; from pathlib import Path; from bot.adapters.locks import InstanceLock;"
    "lock = InstanceLock.acquire(Path(sys.argv[1]), {'program': sys.argv[2]}); print(flush=True);"
    "signal.pause()"
)


@pytest.mark.parametrize("program", ["radbot", "resume", "emergency"])
def test_only_a_bot_is_killed_for_its_lock(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emergency, "LOCK_WAIT_S", 0.1 if program != "radbot" else 5.0)
    with exchange(tmp_path) as venue:
        enter(venue)
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock"), program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    ) as held:
        assert held.stdout is not None
        held.stdout.readline()
        if program == "radbot":
            assert emergency.flatten(tmp_path, "drill", say=said.append)["flat"] is True
            assert held.wait(60.0) == -signal.SIGKILL
        else:
            with pytest.raises(LockedError, match=f"process {held.pid}"):
                emergency.flatten(tmp_path, "drill", say=said.append)
            assert said == [
                f"process {held.pid} is at work on this account ({program}): waiting for it"
            ]
            assert held.poll() is None
            held.kill()


def test_a_locked_file_holds_up_one_answer_of_the_exchange(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exit with its cancels must be over before anybody gives the bot up."""
    with exchange(tmp_path) as venue:
        now = enter(venue)
        with locked(tmp_path):
            began = time.monotonic()
            for i in range(10):
                venue.submit(PlaceOrder(f"p-{i}-target", 0, Role.TARGET, -1, 1.0, 1e6, 1.0), now)
                venue.cancel(CancelOrder(f"p-{i}-target", 0), now)
            assert time.monotonic() - began < 20 * 0.2
            assert venue.take_errors() == ["journal"] * 20
        assert venue.trouble is not None
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        venue.submit(PlaceOrder("p-2-exit", 0, Role.EXIT, -1, 3.0, 0.0, 1.0), now)
        assert (venue.trouble, venue.take_errors()) == (None, [])
        assert caplog.records[-1].getMessage() == "account: writable again"
        assert venue.store.db.execute("PRAGMA busy_timeout").fetchone() == (200,)


def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    with exchange(tmp_path) as venue:
        now = enter(venue)
        with locked(tmp_path):
            venue.cancel(CancelOrder("p-1-stop", 0), now)
        assert stored(tmp_path) == (3.0, ["p-1-stop"])
    assert stored(tmp_path) == (3.0, [])


def test_writes_that_fail_push_nothing_out(tmp_path: Path) -> None:
    """What waits is offered again and again; that must not count against what is kept."""
    with closing(PaperStore(tmp_path / "paper.sqlite3", durable=False, busy_ms=0)) as store:
        store.save({}, {}, ["first"])
        with locked(tmp_path):
            for _ in range(2 * KEPT // 10):
                with pytest.raises(PaperStoreError):
                    store.save({}, {}, ["more"] * 10)
        store.save({}, {}, ["more"] * 10)
        assert store.records()[0] == ["first", *["more"] * 10]
