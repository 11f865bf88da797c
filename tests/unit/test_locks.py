"""One writer: a lock names its holder and ends with it."""

import errno
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bot.adapters import locks
from bot.adapters.locks import EVERYBODY, InstanceLock, LockedError, account_lock_path, holder
from bot.core.errors import InputError
from tests.support.users import ANN, BOB, as_user, needs_root


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    lock = InstanceLock.acquire(path, {"state": "here"})
    with pytest.raises(LockedError, match=f"process {os.getpid()} since .* state directory here"):
        InstanceLock.acquire(path, {})
    assert LockedError.exit_code == 75
    note = holder(path)
    assert note is not None
    assert note["pid"] == os.getpid()
    lock.release()
    assert holder(path) is None
    InstanceLock.acquire(path, {}).release()


def test_who_holds_it_is_known_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    InstanceLock.acquire(path, {"state": "a folder with a long name"}).release()
    write = os.pwrite

    def full(handle: int, text: bytes, at: int) -> int:
        if at + len(text) > os.fstat(handle).st_size:
            raise OSError(28, "No space left on device")
        return write(handle, text, at)

    monkeypatch.setattr(os, "pwrite", full)
    lock = InstanceLock.acquire(path, {})
    note = holder(path)
    assert note is not None
    assert note["pid"] == os.getpid()
    assert "state" not in note
    lock.release()


def test_a_disk_that_has_become_read_only_keeps_nobody_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    InstanceLock.acquire(path, {}).release()
    really = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    assert holder(path) is None
    lock = InstanceLock.acquire(path, {"program": "emergency"})
    assert holder(path) is not None
    with pytest.raises(LockedError):
        InstanceLock.acquire(path, {})
    lock.release()
    assert holder(path) is None


def test_a_note_that_cannot_be_written_names_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    InstanceLock.acquire(path, {}).release()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock = InstanceLock.acquire(path, {})
    assert holder(path) == {}
    lock.release()


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        InstanceLock.acquire(path, {})
        os.write(writer, b"x")
        signal.pause()
    os.read(reader, 1)
    with pytest.raises(LockedError, match=f"process {pid}"):
        InstanceLock.acquire(path, {})
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    InstanceLock.acquire(path, {}).release()


def test_an_account_has_one_lock_on_a_host_and_its_name_tells_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_LOCK_DIR", str(tmp_path))
    assert account_lock_path("key-1") == account_lock_path("key-1")
    assert account_lock_path("key-1") != account_lock_path("key-2")
    assert "key" not in account_lock_path("key-1").name


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The host's folder of locks, as Debian has it."""
    monkeypatch.delenv("RADBOT_LOCK_DIR", raising=False)
    with tempfile.TemporaryDirectory() as name:  # that other users reach
        os.chmod(name, 0o1777)
        monkeypatch.setattr(locks, "HOST_LOCKS", Path(name))
        yield Path(name)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def take() -> InstanceLock:
    return InstanceLock.acquire(account_lock_path("key"), {}, EVERYBODY)


def refused(error: type[Exception], text: str) -> Callable[[], None]:
    def work() -> None:
        with pytest.raises(error, match=text):
            take()

    return work


@needs_root
@pytest.mark.parametrize("first", [0, ANN])
def test_the_users_of_a_host_share_the_lock_of_an_account(host: Path, first: int) -> None:
    assert as_user(first, take) == 0
    assert mode(host / "radbot") == 0o1777
    path = account_lock_path("key")
    assert (path.parent, mode(path), path.stat().st_uid) == (host / "radbot", 0o666, first)
    held = take()
    for user in (ANN, BOB):
        assert as_user(user, refused(LockedError, f"process {os.getpid()}")) == 0
    held.release()
    assert as_user(BOB, take) == 0


@needs_root
def test_a_folder_of_locks_that_cannot_be_shared_is_a_refusal(host: Path) -> None:
    folder = host / "radbot"
    folder.mkdir(mode=0o755)
    text = "every user may lock .* Permission denied; once, as root: install -d -m 1777"
    assert as_user(ANN, refused(InputError, text)) == 0
    take().release()  # whose it is shares it from now on
    assert as_user(ANN, take) == 0
    folder.chmod(0o2770)  # that is somebody's choice
    take().release()
    assert mode(folder) == 0o2770
    host.chmod(0o755)
    folder.rename(host / "gone")
    assert as_user(ANN, refused(InputError, text)) == 0


@needs_root
def test_a_lock_that_only_another_user_may_take_is_a_refusal(host: Path) -> None:
    assert as_user(ANN, take) == 0
    account_lock_path("key").chmod(0o600)
    assert as_user(BOB, refused(InputError, "this user may take, was: Permission denied")) == 0


def test_nobody_is_led_elsewhere_by_a_link(host: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("precious")
    account_lock_path("key").symlink_to(there)
    with pytest.raises(InputError, match="symbolic links"):
        take()
    assert there.read_text() == "precious"
    (host / "radbot" / account_lock_path("key").name).unlink()
    (host / "radbot").rmdir()
    (host / "radbot").symlink_to(tmp_path)
    with pytest.raises(InputError, match="Not a directory"):
        take()


def test_a_system_without_a_folder_of_locks_has_one_for_temporary_files(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "HOST_LOCKS", host / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(host))
    assert account_lock_path("key").parent == host / "radbot-locks"
    assert mode(host / "radbot-locks") == 0o1777
