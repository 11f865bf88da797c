"""One writer: a lock names its holder and ends with it."""

import os
import signal
from pathlib import Path

import pytest

from bot.adapters.locks import InstanceLock, LockedError, account_lock_path, holder


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
