"""Messages for people, left as files for the notifier: `outbox/<ulid>.json`.

The bot never sends anything itself, and no trouble with a message ever holds up trading. Times are
those of the host (`at_ms`) and, as a paper market may play another year, of the market.
"""

import json
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bot.adapters.files import sync_folder
from bot.adapters.logs import redact

KEPT_S = 7 * 86_400
BEGUN_S = 600  # a file that is being written for longer is a leftover
MOST_FILES = 1_000  # so that a dead notifier cannot fill the disk
MOST_WAITING = 200
AGES = ".ages"
BODY_BYTES = 4_096
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(ms: int, noise: int) -> str:
    """Return the ULID of a time (ms) and 80 bits of noise: 26 characters that sort by time.

    >>> ulid(1_704_067_200_000, 0)
    '01HK153X000000000000000000'
    """
    number = ms << 80 | noise
    return "".join(CROCKFORD[number >> 5 * i & 31] for i in range(25, -1, -1))


class Outbox:
    """Takes messages and writes them when told to; what cannot be written waits in memory."""

    def __init__(
        self, folder: Path, host: str = "", monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = folder
        self.monotonic = monotonic
        self.ages: dict[str, float] = {}
        """for how long bots have seen a file, by its name, seconds"""
        self.looked: float | None = None
        self.host = host or socket.gethostname()
        self.waiting: deque[dict[str, object]] = deque(maxlen=MOST_WAITING)
        self._last = (0, 0)

    def put(self, severity: str, kind: str, title: str, body: str, market_ms: int) -> None:
        """Take a message; `flush` writes it."""
        body = redact(body)
        text = body if len(body) <= BODY_BYTES else body[: BODY_BYTES - 15] + " ... (cut here)"
        if len(self.waiting) == MOST_WAITING:
            self.flush()
            self._make_room()
        name, at_ms = self._new_id()
        self.waiting.append(
            {
                "id": name,
                "severity": severity,
                "kind": kind,
                "title": title,
                "body": text,
                "incident_key": f"{self.host}/{kind}",
                "at_ms": at_ms,
                "market_ms": market_ms,
                "host": self.host,
            }
        )

    def _make_room(self) -> None:
        """Drop the oldest message, of those that are not CRITICAL if there is one."""
        if len(self.waiting) == MOST_WAITING:
            severities = [message["severity"] for message in self.waiting]
            minor = (i for i, severity in enumerate(severities) if severity != "CRITICAL")
            del self.waiting[next(minor, 0)]

    def flush(self) -> None:
        """Write what waits, oldest first, until it fails. Never raises OSError."""
        with suppress(OSError):
            while self.waiting:
                self._write(self.waiting[0])
                self.waiting.popleft()

    def written(self) -> list[dict[str, object]]:
        """Return the messages that are in the folder, oldest first, as far as they can be read."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            with suppress(OSError, ValueError):
                message = json.loads(path.read_bytes())
                if isinstance(message, dict):
                    found.append(message)
        return found

    def prune(self) -> None:
        """Remove what has been there for a week, and the oldest beyond the bound.

        By the time that bots have seen it, one after the other: a host's clock that is wrong by a
        year must not take messages away that nobody has read.
        """
        with suppress(OSError):
            now = self.monotonic()
            if self.looked is None:
                self.ages, self.looked = self._stored_ages(), now
            passed, self.looked = now - self.looked, now
            names = sorted(path.name for path in self.folder.glob("*.json") if len(path.stem) == 26)
            begun = [path.name for path in self.folder.glob(".*.tmp")]
            before = {name: age + passed for name, age in self.ages.items()}
            self.ages = {name: before.get(name, 0.0) for name in (*names, *begun)}
            old = [name for name in names if self.ages[name] > KEPT_S]
            left = [name for name in begun if self.ages[name] > BEGUN_S]
            for name in (*old, *left, *names[: max(0, len(names) - MOST_FILES)]):
                (self.folder / name).unlink(missing_ok=True)
                self.ages.pop(name, None)  # the oldest may be beyond the bound as well
            if self.ages:
                self._replace(self.folder / AGES, self.ages)

    def _stored_ages(self) -> dict[str, float]:
        try:
            found = json.loads((self.folder / AGES).read_bytes())
            return {str(name): float(age) for name, age in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _new_id(self) -> tuple[str, int]:
        """Return an id above the last one, also when the clock stands still or steps back, and the
        time."""
        at_ms, noise = int(time.time() * 1000), secrets.randbits(80)
        ms = at_ms
        if ms <= self._last[0]:
            ms, noise = self._last[0], self._last[1] + 1
        self._last = (ms, noise)
        return ulid(ms, noise), at_ms

    def _write(self, message: dict[str, object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._replace(self.folder / f"{message['id']}.json", message)

    def _replace(self, target: Path, content: object) -> None:
        temporary = self.folder / f".{target.name}.tmp"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o640)
            temporary.replace(target)
            sync_folder(self.folder)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
