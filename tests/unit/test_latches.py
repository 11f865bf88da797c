"""Latches outlive everything: a full disk, a second pull, a damaged file."""

import os
import resource
import signal
from pathlib import Path

import pytest

from bot.adapters.latches import RESERVE_BYTES, UNREADABLE, Latches
from tests.support.crash import in_child


@pytest.fixture
def latches(tmp_path: Path) -> Latches:
    made = Latches(tmp_path / "latches")
    made.prepare()
    return made


def test_the_first_pull_is_kept_until_a_person_releases_it(latches: Latches) -> None:
    assert latches.read() is None
    assert latches.pull("kill_switch", "smoke", "anna", 5)
    assert not latches.pull("drawdown", "later", "radbot", 6)
    latch = latches.read()
    assert latch is not None
    assert (latch.cause, latch.reason, latch.by, latch.at_ms) == ("kill_switch", "smoke", "anna", 5)
    latches.release()
    assert latches.read() is None
    assert latches.pull("drawdown", "again", "radbot", 7)


LATCH = '{"cause": "kill_switch", "reason": "r", "by": "ann", "at_ms": 5}'


@pytest.mark.parametrize(
    "text",
    [
        '{"cause": "kill',
        "[]",
        "[" * 100_000,
        LATCH.replace("5", "Infinity"),
        LATCH.replace("5", '"x"'),
    ],
    ids=["half", "list", "deep", "infinity", "word"],
)
def test_a_damaged_latch_is_a_latch(latches: Latches, text: str) -> None:
    latches.file.write_text(text)
    (latches.folder / "resume.json").write_text(text)
    assert latches.take_resume() is None
    latch = latches.read()
    assert latch is not None
    assert latch.cause == UNREADABLE


def test_a_pull_needs_no_room_on_the_disk(latches: Latches) -> None:
    """No file may grow beyond the reserve's size in the child: only what is there is rewritten."""

    def pull_inside_the_reserve() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        assert latches.pull("kill_switch", "full", "test", 1)

    assert in_child(pull_inside_the_reserve) == 0
    latch = latches.read()
    assert latch is not None
    assert latch.reason == "full"
    assert os.stat(latches.file).st_size == 4096


def test_only_one_of_many_pulls_wins(latches: Latches) -> None:
    readers = []
    for i in range(8):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if latches.pull("kill_switch", str(i), "test", i) else 1)
        readers.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in readers]
    assert codes.count(0) == 1
    assert latches.read() is not None
    assert [p.name for p in latches.folder.glob(".pull.*")] == []


ODD = "Stra\udcdfe\n\x1b[31m"
CLEAN = "Stra?e  [31m"


def test_what_people_write_can_be_stored_and_printed(latches: Latches) -> None:
    latches.pull("kill_switch", ODD, ODD, 5)
    latches.leave_resume(ODD, ODD, 6)
    for latch in (latches.read(), latches.take_resume()):
        assert latch is not None
        assert (latch.reason, latch.by) == (CLEAN, CLEAN)


def test_what_an_older_release_wrote_can_be_printed_too(latches: Latches) -> None:
    """It escaped what is no character, and so kept it."""
    for name in ("kill.json", "resume.json"):
        (latches.folder / name).write_text(LATCH.replace('"r"', '"Stra\\udcdfe"'))
    for latch in (latches.read(), latches.take_resume()):
        assert latch is not None
        assert latch.reason == "Stra?e"


@pytest.mark.parametrize("letter", ['"', "\\", "\0", "\udcdf", "\U0001f4a5", "x"])
def test_a_latch_fits_into_its_reserve_whatever_is_written(latches: Latches, letter: str) -> None:
    latches.pull(letter * 9_000, letter * 9_000, letter * 9_000, 5)
    assert latches.file.stat().st_size == RESERVE_BYTES
    latch = latches.read()
    assert latch is not None
    assert latch.cause != UNREADABLE
    assert len(latch.reason) >= 250
