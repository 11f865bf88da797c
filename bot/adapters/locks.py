"""One writer: locks that end with the process that holds them, however it ends."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bot.adapters.rights import OURS, give
from bot.core.errors import BotError, InputError

BOT = "radbot"
"""the program in a bot's note; kill and resume have their own"""
FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
HOST_LOCKS = Path("/run/lock")
EVERYBODY = 0o666
"""the rights of an account's lock: whoever holds the key may be any user of the host"""
ANYBODY = 0o1777
"""those of its folder: everybody adds files, and nobody removes another's"""


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
    def acquire(cls, path: Path, note: dict[str, object], mode: int = OURS) -> "InstanceLock":
        """Take the lock; never wait. A file that is not there is made with `mode`.

        Raises
        ------
        LockedError : another process has it; the text names the holder
        InputError : this user may not take it
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = _open(path, mode)
        except OSError as error:
            raise InputError(
                f"{path}: expected a lock that this user may take, was: {error.strerror}; run the "
                "bot as the user it belongs to, or give the file to all who may trade here"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise LockedError(_refusal(path, _note(path))) from error
        body = {"pid": os.getpid(), "since": int(time.time()), **note}
        # Over the last one, which needs no room on a full disk: a kill must know whom to end.
        text = json.dumps(body).encode().ljust(os.fstat(handle).st_size)
        try:
            os.pwrite(handle, text, 0)
        except OSError:  # no room all the same: the lock holds without its note
            with contextlib.suppress(OSError):  # which stays, on a disk that takes nothing
                os.ftruncate(handle, 0)
        return cls(path, handle)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self.handle)


def _open(path: Path, mode: int) -> int:
    """Open a lock file, or make it; never through a link. Raises OSError.

    What is there is opened without O_CREAT: in a folder for everybody the kernel refuses that on
    the file of another user.
    """
    try:
        return _there(path)
    except FileNotFoundError:
        try:
            handle = os.open(path, FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:  # somebody else was first
            return _there(path)
    give(handle, path.parent, mode)
    return handle


def _there(path: Path) -> int:
    """Open a lock file that is there; for reading alone on a disk that has become read-only, where
    an account must be closed all the same. Raises OSError."""
    try:
        return os.open(path, FLAGS | os.O_RDWR)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, FLAGS | os.O_RDONLY)


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
        handle = _there(path)
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

    Named by a hash, because the account is known by its API key. Raises InputError where the
    users of the host cannot share a folder: two of them would trade on one account.
    """
    name = hashlib.sha256(account_id.encode()).hexdigest()[:32]
    return _lock_folder() / f"{name}.lock"


def _lock_folder() -> Path:
    if given := os.environ.get("RADBOT_LOCK_DIR"):
        return Path(given)
    if HOST_LOCKS.is_dir():
        return _shared(HOST_LOCKS / "radbot")
    return _shared(Path(tempfile.gettempdir()) / "radbot-locks")


def _shared(folder: Path) -> Path:
    """Return a folder that all users of the host may lock in, made if it is not there."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        # New, or of an older release: nobody else could use it.
        if found.st_uid == os.geteuid() and not found.st_mode & 0o022:
            folder.chmod(ANYBODY)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder in which every user may lock an account, was: "
            f"{error.strerror}; once, as root: install -d -m 1777 {folder}"
        ) from error
    return folder
