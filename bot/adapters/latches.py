"""Latches: the kill switch as a file, outside of every process and database (DESIGN section 6).

A hung bot may hold the journal, and a full disk must not stop a kill: the latch is written into a
reserve that was allocated beforehand, and then renamed, which needs no new block.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    """The folder of latches. Any program of the same user may pull; only `resume` releases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "kill.json"
        self.reserve = folder / ".reserve"

    def prepare(self) -> None:
        """Make the folder and the reserve, while there is room. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.reserve.exists() and self.reserve.stat().st_size >= RESERVE_BYTES:
            return
        with self.reserve.open("wb") as file:
            file.write(b" " * RESERVE_BYTES)
            file.flush()
            os.fsync(file.fileno())
        self.reserve.chmod(0o640)
        self._sync_folder()

    def pull(self, cause: str, reason: str, by: str, at_ms: int) -> bool:
        """Latch, durably; return whether it was not latched before. Raises OSError.

        The first pull is kept: what happened first is what a person must know.
        """
        if self.file.exists():
            return False
        body = Latch.of(cause, reason, by, at_ms).body().ljust(RESERVE_BYTES)
        self.folder.mkdir(parents=True, exist_ok=True)
        source = self.folder / f".pull.{os.getpid()}"
        with suppress(FileNotFoundError):  # whoever renames it first owns the reserve
            self.reserve.rename(source)
        handle = os.open(source, os.O_RDWR | os.O_CREAT, 0o640)
        try:
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
        self._sync_folder()
        return True

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
        self._sync_folder()
        self.prepare()

    def leave_resume(self, reason: str, by: str, at_ms: int) -> None:
        """Leave a note for a bot that is down: a person has resumed it. Raises OSError."""
        temporary = self.folder / f".resume.{os.getpid()}"
        with temporary.open("wb") as file:
            file.write(Latch.of("resume", reason, by, at_ms).body())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.folder / "resume.json")
        self._sync_folder()

    def take_resume(self) -> Latch | None:
        """Return the note of a person who resumed the bot while it was down, None without one."""
        try:
            return Latch.read(self.folder / "resume.json")
        except (OSError, *DAMAGED):
            return None

    def forget_resume(self) -> None:
        """Remove that note, durably. Raises OSError."""
        (self.folder / "resume.json").unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
