"""One writer: locks that end with the process that holds them, however it ends."""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bot.core.errors import BotError


class LockedError(BotError):
    """Another process holds the lock. Exit code 75: try again when it has ended."""

    exit_code = 75


class InstanceLock:
    """A flock on a file that says who holds it. Keep the object: the lock ends with it.

    The file is never removed: a second process could then lock another file of the same name.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.handle = handle

    @classmethod
    def acquire(cls, path: Path, note: dict[str, object]) -> "InstanceLock":
        """Take the lock or raise LockedError, which names the holder; never wait."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise LockedError(_refusal(path, _note(path))) from error
        body = {"pid": os.getpid(), "since": int(time.time()), **note}
        os.ftruncate(handle, 0)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its note
            os.pwrite(handle, json.dumps(body).encode(), 0)
        return cls(path, handle)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.handle)


def _note(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text() or "{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(path: Path, note: dict[str, object]) -> str:
    since = note.get("since")
    when = (
        f" since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        if isinstance(since, int)
        else ""
    )
    state = f", state directory {note['state']}" if "state" in note else ""
    return (
        f"{path}: another radbot trades here: process {note.get('pid', 'unknown')}{when}{state}; "
        "stop it first, two would trade against each other"
    )


def holder(path: Path) -> dict[str, object] | None:
    """Return the note of the process that holds the lock, None when nobody does."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return _note(path)
    finally:
        os.close(handle)
    return None


def account_lock_path(account_id: str) -> Path:
    """Return the host's lock of one account: the same for every state directory of this host.

    Named by a hash, because the account is known by its API key.
    """
    name = hashlib.sha256(account_id.encode()).hexdigest()[:32]
    return _lock_folder() / f"{name}.lock"


def _lock_folder() -> Path:
    if given := os.environ.get("RADBOT_LOCK_DIR"):
        return Path(given)
    host = Path("/run/lock/radbot")
    with contextlib.suppress(OSError):
        host.mkdir(exist_ok=True)
    if os.access(host, os.W_OK):
        return host
    return Path(tempfile.gettempdir()) / "radbot-locks"
