"""Latches: the kill switch as a file, outside of every process and database (DESIGN section 6).

A hung bot may hold the journal, and a full disk must not stop a kill: the latch is written into a
reserve that was allocated beforehand, and then renamed, which needs no new block. Where even that
is gone, an empty file is a latch, too.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import get_ident
from typing import Any

from bot.adapters.files import sync_folder
from bot.adapters.rights import OURS, give, make_folder
from bot.core.text import clean

RESERVE_BYTES = 4096
MOST_NAME_BYTES = 100
UNREADABLE = "unreadable"
DAMAGED = (ValueError, LookupError, TypeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Latch:
    """Why the bot must stay flat until a person resumes it."""

    cause: str
    reason: str
    by: str
    at_ms: int

    @classmethod
    def of(cls, cause: object, reason: object, by: object, at_ms: object) -> "Latch":
        """Return a latch whose texts anybody can store and print. Raises `DAMAGED`."""
        at: Any = at_ms
        name = clean(by, MOST_NAME_BYTES)
        return cls(clean(cause, MOST_NAME_BYTES), clean(reason), name, int(at))

    @classmethod
    def read(cls, file: Path) -> "Latch":
        """Return what a file holds. Raises OSError, and `DAMAGED`."""
        data = json.loads(file.read_bytes())
        return cls.of(data["cause"], data["reason"], data["by"], data["at_ms"])

    def body(self) -> bytes:
        """Return what a file holds; shorter than the reserve, whatever the texts are."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()


class Latches:
    """The folder of latches. Any program of the same user, and root, may pull; only `resume`
    releases. Whoever makes a file, it belongs to the owner of the folder: the bot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "kill.json"
        self.reserve = folder / ".reserve"

    def prepare(self) -> None:
        """Make the folder and the reserve, while there is room. Raises OSError."""
        make_folder(self.folder)
        if os.access(self.reserve, os.W_OK) and self.reserve.stat().st_size >= RESERVE_BYTES:
            return
        self._write(self.reserve, b" " * RESERVE_BYTES)

    def pull(self, cause: str, reason: str, by: str, at_ms: int) -> bool:
        """Latch, durably; return whether it was not latched before. Raises OSError.

        The first pull is kept: what happened first is what a person must know.
        """
        if self.file.exists():
            return False
        body = Latch.of(cause, reason, by, at_ms).body().ljust(RESERVE_BYTES)
        make_folder(self.folder)
        source = self.folder / f".pull.{os.getpid()}.{get_ident()}"  # of this thread alone
        with suppress(FileNotFoundError):  # whoever renames it first owns the reserve
            self.reserve.rename(source)
        handle = _open(source)
        try:
            with suppress(OSError):  # no matter of rights stops a kill
                give(handle, self.folder)
            with suppress(OSError):  # without a reserve: latched, for a reason that is not kept
                os.write(handle, body)
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(source, self.file)  # fails when somebody else was first, unlike a rename
        except FileExistsError:
            source.unlink()
            return False
        except OSError:
            source.rename(self.file)  # no room for a second name, or no links here
        else:
            source.unlink()
        sync_folder(self.folder)
        return True

    @property
    def pulled(self) -> bool:
        """Whether the latch is there; a process without free handles still sees it."""
        return os.path.exists(self.file)

    def read(self) -> Latch | None:
        """Return the latch, None when there is none. A damaged one is a latch too."""
        try:
            return Latch.read(self.file)
        except FileNotFoundError:
            return None
        except (OSError, *DAMAGED) as error:
            return Latch.of(UNREADABLE, f"{self.file.name} cannot be read: {error}", "unknown", 0)

    def release(self) -> None:
        """Take the latch away, durably, and be ready for the next. Raises OSError."""
        self.file.unlink(missing_ok=True)
        sync_folder(self.folder)
        self.prepare()

    def leave_resume(self, reason: str, by: str, at_ms: int) -> None:
        """Leave a note for a bot that is down: a person has resumed it. Raises OSError."""
        self._write(self.folder / "resume.json", Latch.of("resume", reason, by, at_ms).body())

    def take_resume(self) -> Latch | None:
        """Return the note of a person who resumed the bot while it was down, None without one."""
        try:
            return Latch.read(self.folder / "resume.json")
        except (OSError, *DAMAGED):
            return None

    def forget_resume(self) -> None:
        """Remove that note, durably. Raises OSError."""
        (self.folder / "resume.json").unlink(missing_ok=True)
        sync_folder(self.folder)

    def _write(self, target: Path, body: bytes) -> None:
        """Write a file whole, durably. Raises OSError."""
        temporary = self.folder / f".new.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        try:
            with open(_open(temporary), "wb") as file:
                give(file.fileno(), self.folder)
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self.folder)


def _open(file: Path) -> int:
    """Open a file of this process alone; one that cannot be used is dropped for a new one."""
    try:
        return os.open(file, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # none there, or another user's
        file.unlink(missing_ok=True)
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, OURS)
