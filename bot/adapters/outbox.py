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
from contextlib import suppress
from pathlib import Path

KEPT_S = 7 * 86_400
MOST_FILES = 1_000  # so that a dead notifier cannot fill the disk
MOST_WAITING = 200
BODY_BYTES = 4_096
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(ms: int, noise: int) -> str:
    """Return the ULID of a time (ms) and 80 bits of noise: 26 characters that sort by time.

    >>> ulid(1_704_067_200_000, 0)
    '01HK153X000000000000000000'
    """
    number = ms << 80 | noise
    return "".join(CROCKFORD[number >> 5 * i & 31] for i in range(25, -1, -1))


def ulid_ms(name: str) -> int:
    """Return the time (ms) in a ULID; raise ValueError when it is none."""
    number = 0
    for letter in name[:10]:
        number = number << 5 | CROCKFORD.index(letter)
    return number


class Outbox:
    """Takes messages and writes them when told to; what cannot be written waits in memory, the
    oldest going first."""

    def __init__(self, folder: Path, host: str = "") -> None:
        self.folder = folder
        self.host = host or socket.gethostname()
        self.waiting: deque[dict[str, object]] = deque(maxlen=MOST_WAITING)
        self._last = (0, 0)

    def put(self, severity: str, kind: str, title: str, body: str, market_ms: int) -> None:
        """Take a message; `flush` writes it."""
        text = body if len(body) <= BODY_BYTES else body[: BODY_BYTES - 15] + " ... (cut here)"
        if len(self.waiting) == MOST_WAITING:  # before the oldest is dropped
            self.flush()
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

    def flush(self) -> None:
        """Write what waits, oldest first, until it fails. Never raises OSError."""
        with suppress(OSError):
            while self.waiting:
                self._write(self.waiting[0])
                self.waiting.popleft()

    def prune(self, now_s: float) -> None:
        """Remove what is older than a week, and the oldest beyond the bound."""
        with suppress(OSError):
            names = sorted(path for path in self.folder.glob("*.json") if len(path.stem) == 26)
            for i, path in enumerate(names):
                with suppress(ValueError):
                    old = ulid_ms(path.stem) < (now_s - KEPT_S) * 1000
                    if old or i < len(names) - MOST_FILES:
                        path.unlink(missing_ok=True)

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
        target = self.folder / f"{message['id']}.json"
        temporary = self.folder / f".{target.name}.tmp"
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(message, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o640)
            temporary.replace(target)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
