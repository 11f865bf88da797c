"""Latches outlive everything: a full disk, a second pull, a damaged file."""

import os
import resource
import signal
from pathlib import Path

import pytest

from bot.adapters.latches import UNREADABLE, Latches
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


def test_a_damaged_latch_is_a_latch(latches: Latches) -> None:
    latches.file.write_text('{"cause": "kill')
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
