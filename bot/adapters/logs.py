"""Logs: one JSON object for each line, or plain lines on a terminal; secrets never in either.

Secrets are taken out of the finished line, so it does not matter how they came in: as message,
argument, extra field or inside a traceback.
"""

import json
import logging
import logging.handlers
import re
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, override

REDACTED = "[redacted]"
FILE_BYTES = 10_000_000  # one log file; five are kept
SHORTEST_SECRET = 6
"""shorter values are not looked for: they would tear ordinary words apart"""
# What looks like a secret, whatever its value. Group 1 stays.
PATTERNS = [
    re.compile(text, re.IGNORECASE)
    for text in (
        r"((?:api[-_]?)?(?:key|secret|passphrase|password|token|signature)[\"']?\s*[=:]\s*[\"']?)"
        r"[^\s\"',;&}\\]+",
        r"(authorization[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?)[^\s\"',;}\\]+",
        r"(kc-api-[a-z-]+[\"']?\s*[=:]\s*[\"']?)[^\s\"',;}\\]+",
        r"(\b[a-z][a-z0-9+.-]*://)[^/\s@\"\\]+(?=@)",
        # Notification services carry their secret as the path: everything after the scheme goes.
        r"(\b(?:tgram|discord|slack|pover|pbul|gotify|ntfys?|mailtos?|matrixs?)://)[^\s\"\\]+",
    )
]
# What every record has; anything else came in as `extra`.
ORDINARY = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a line without secrets.

    >>> redact("GET /x?token=abc123 Authorization: Bearer xyz")
    'GET /x?token=[redacted] Authorization: Bearer [redacted]'
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, REDACTED)
            text = text.replace(json.dumps(secret)[1:-1], REDACTED)
    for pattern in PATTERNS:
        text = pattern.sub(rf"\g<1>{REDACTED}", text)
    return text


class LineFormatter(logging.Formatter):
    """Makes one line of a record: JSON, or text for people."""

    def __init__(self, *, as_json: bool, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.as_json = as_json
        self.secrets = sorted(secrets, key=len, reverse=True)  # a part of another comes last

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except (TypeError, ValueError) as error:  # a wrong format string is no reason to be silent
            message = f"{record.msg!r} with {record.args!r}: {error}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if not self.as_json:
            text = f"{record.levelname.lower()}: {message}"
            return redact(f"{text}\n{trace}" if trace else text, self.secrets)
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(message, self.secrets),
        }
        for name, value in record.__dict__.items():
            if name not in ORDINARY:
                plain = isinstance(value, int | float | bool | None)
                fields[name] = value if plain else redact(str(value), self.secrets)
        if trace:
            fields["exception"] = redact(trace, self.secrets)
        return json.dumps(fields)


class Stream(Protocol):
    """What lines are written to."""

    def write(self, text: str, /) -> Any:
        """Write a part of a line."""

    def flush(self) -> None:
        """Write what is held back."""


class QuietHandler(logging.StreamHandler[Any]):
    """A handler whose stream may break: the bot trades on without its log."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: there is nowhere to say it."""


class FileFormatter(logging.Formatter):
    """Makes one line of a record for a file: the host's time, and text without secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(message)s")
        self.secrets = sorted(secrets, key=len, reverse=True)

    @override
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self.secrets)


class QuietFileHandler(logging.handlers.RotatingFileHandler):
    """A file that may not be writable for a while, as on a full disk: its lines are lost."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: it would be said once for each line."""


def file_handler(path: Path, secrets: Iterable[str] = ()) -> logging.Handler:
    """Return a handler that writes to `path`, bounded. Raises OSError."""
    handler = QuietFileHandler(path, maxBytes=FILE_BYTES, backupCount=4, encoding="utf-8")
    handler.setFormatter(FileFormatter(secrets))
    return handler


def set_up(stream: Stream, *, as_json: bool, secrets: Iterable[str] = ()) -> None:
    """Send all logs to `stream`. `secrets` are values that must never appear."""
    handler = QuietHandler(stream)
    handler.setFormatter(LineFormatter(as_json=as_json, secrets=secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def log_uncaught() -> None:
    """Let what ends the process, or a thread of it, be a line of the log as everything else: whole,
    and without secrets."""
    sys.excepthook = _uncaught
    threading.excepthook = lambda found: _uncaught(
        found.exc_type, found.exc_value, found.exc_traceback
    )


def _uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    error = error or kind()
    if issubclass(kind, Exception) and logging.getLogger().handlers:
        log = logging.getLogger("radbot")
        log.critical("ended by an exception", exc_info=(kind, error, trace))
    else:  # a command without a log, or Ctrl-C
        sys.__excepthook__(kind, error, trace)
