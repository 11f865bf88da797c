"""Latches outlive everything: a full disk, a second pull, a damaged file."""

import os
import resource
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bot.adapters.latches import RESERVE_BYTES, UNREADABLE, Latches
from tests.support.crash import in_child
from tests.support.users import ANN, as_user, needs_root


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


def test_two_threads_of_one_process_that_pull_at_once_both_succeed(
    latches: Latches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's kill, and the loop's own for a drawdown: neither may say that it has failed."""
    real_link = os.link
    answers: list[bool] = []

    def link(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", real_link)
        other = threading.Thread(
            target=lambda: answers.append(latches.pull("drawdown", "loss", "radbot", 6))
        )
        other.start()
        other.join()
        real_link(source, target)

    monkeypatch.setattr(os, "link", link)
    assert not latches.pull("kill_switch", "smoke", "anna", 5)
    assert answers == [True]
    latch = latches.read()
    assert latch is not None
    assert (latch.cause, latch.reason) == ("drawdown", "loss")


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


def test_a_pull_without_room_and_reserve_latches_all_the_same(latches: Latches) -> None:
    """As after a resume on a full disk: the block of the last latch was taken by somebody else."""
    latches.reserve.unlink()

    def pull_without_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with suppress(OSError):  # which could not even be told
            latches.pull("kill_switch", "full", "test", 1)

    assert in_child(pull_without_room) == 0
    assert latches.pulled
    latch = latches.read()
    assert latch is not None
    assert latch.cause == UNREADABLE


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


@pytest.fixture
def anns() -> Iterator[Latches]:
    """The latches of a bot that another user runs; this process is root with a narrow umask."""
    before = os.umask(0o077)
    try:
        with tempfile.TemporaryDirectory() as name:  # that other users reach
            os.chown(name, ANN, ANN)
            yield Latches(Path(name) / "latches")
    finally:
        os.umask(before)


def check_rights(latches: Latches) -> None:
    for file in latches.folder.iterdir():
        found = file.stat()
        rights = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        assert rights == (ANN, ANN, 0o640), file
    assert latches.folder.stat().st_uid == ANN


@needs_root
def test_what_root_leaves_belongs_to_the_bot(anns: Latches) -> None:
    assert anns.pull("kill_switch", "by root", "root", 5)  # there was no folder yet
    check_rights(anns)
    anns.prepare()
    anns.leave_resume("checked", "root", 6)
    anns.release()
    check_rights(anns)

    def bot() -> None:
        left = anns.take_resume()
        assert left is not None
        assert left.reason == "checked"
        anns.forget_resume()
        anns.prepare()
        assert anns.pull("drawdown", "drawdown", "radbot", 7)

    assert as_user(ANN, bot) == 0
    latch = anns.read()
    assert latch is not None
    assert (latch.cause, latch.by) == ("drawdown", "radbot")
    check_rights(anns)


@needs_root
@pytest.mark.parametrize("prepared", [False, True])
def test_a_reserve_that_cannot_be_used_stops_no_kill(anns: Latches, prepared: bool) -> None:
    assert as_user(ANN, anns.prepare) == 0
    for right in (0o640, 0o000):  # as an older release left it
        anns.reserve.unlink(missing_ok=True)
        anns.reserve.write_bytes(b" " * RESERVE_BYTES)
        anns.reserve.chmod(right)

        def bot() -> None:
            if prepared:
                anns.prepare()
            assert anns.pull("drawdown", "drawdown", "radbot", 7)

        assert as_user(ANN, bot) == 0
        check_rights(anns)
        anns.release()
        check_rights(anns)
