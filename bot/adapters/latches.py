"""Latches: the kill switch as a file, outside of every process and database (DESIGN section 6).

A hung bot may hold the journal, and a full disk must not stop a kill: the latch is written into a
reserve that was allocated beforehand, and then renamed, which needs no new block.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

RESERVE_BYTES = 4096
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Latch:
    """Why the bot must stay flat until a person resumes it."""

    cause: str
    reason: str
    by: str
    at_ms: int


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
        latch = Latch(cause, reason[:1000], by[:100], at_ms)
        body = json.dumps(asdict(latch)).encode().ljust(RESERVE_BYTES)
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
            data = json.loads(self.file.read_bytes())
            return Latch(
                str(data["cause"]), str(data["reason"]), str(data["by"]), int(data["at_ms"])
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Latch(UNREADABLE, f"{self.file.name} cannot be read: {error}", "unknown", 0)

    def release(self) -> None:
        """Take the latch away, durably, and be ready for the next. Raises OSError."""
        self.file.unlink(missing_ok=True)
        self._sync_folder()
        self.prepare()

    def leave_resume(self, reason: str, by: str, at_ms: int) -> None:
        """Leave a note for a bot that is down: a person has resumed it. Raises OSError."""
        body = json.dumps({"cause": "resume", "reason": reason, "by": by, "at_ms": at_ms})
        temporary = self.folder / f".resume.{os.getpid()}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.folder / "resume.json")
        self._sync_folder()

    def take_resume(self) -> Latch | None:
        """Return the note of a person who resumed the bot while it was down, None without one."""
        try:
            return Latch(**json.loads((self.folder / "resume.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def forget_resume(self) -> None:
        """Remove that note; its event is in the journal."""
        (self.folder / "resume.json").unlink(missing_ok=True)

    def _sync_folder(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
