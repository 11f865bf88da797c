"""The wire simulator as a process of its own, and what tests say to it through its control port."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bot.adapters.kucoin_site import Credentials

ROOT = Path(__file__).parents[2]
KEYS = Credentials("key-of-the-test", "secret-of-the-test", "passphrase-of-the-test")


class Simulator:
    """A running `radops exchange`."""

    def __init__(self, words: Sequence[str]) -> None:
        keys = ["--key", KEYS.key, "--secret", KEYS.secret, "--passphrase", KEYS.passphrase]
        ports = ["--futures-port", "0", "--spot-port", "0", "--control-port", "0"]
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops", "exchange", "--json", *ports, *keys, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise AssertionError(f"the simulator did not start: {self.errors.read()}")
        said = json.loads(line)
        self.futures, self.spot = str(said["futures"]), str(said["spot"])
        self.control, self.start_ms = str(said["control"]), int(said["now_ms"])
        self.lines: dict[tuple[int, int], HTTPConnection] = {}

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "") -> Any:
        """Ask the control endpoint; return the answer."""
        data = None if body is None else json.dumps(body).encode()
        line = self.line()
        line.request(method or ("GET" if data is None else "POST"), f"/control/{path}", data)
        with line.getresponse() as answer:
            said = answer.read()
            assert answer.status == 200, f"{path}: {answer.status} {said!r}"
        return json.loads(said)

    def line(self) -> HTTPConnection:
        """Return this thread's line to the control port, kept between questions; a forked process
        has its own."""
        asker = os.getpid(), threading.get_ident()
        if asker not in self.lines:
            address = self.control.removeprefix("http://")
            self.lines[asker] = HTTPConnection(address, timeout=60)
        return self.lines[asker]

    def advance(self, by_ms: int) -> int:
        """Let market time pass; return it."""
        return int(self.ask("advance", {"by_ms": by_ms})["now_ms"])

    def truth(self) -> dict[str, Any]:
        """Return the exchange's own books."""
        found: dict[str, Any] = self.ask("truth")
        return found

    def close(self) -> None:
        for line in self.lines.values():
            line.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20.0)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.errors.close()


@contextmanager
def simulator(*words: str) -> Iterator[Simulator]:
    """Yield a simulator; it ends with the block."""
    made = Simulator(words)
    try:
        yield made
    finally:
        made.close()


def credentials_folder(folder: Path) -> Path:
    """Write the simulator's key as the bot wants to find it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    values = (KEYS.key, KEYS.secret, KEYS.passphrase)
    for name, value in zip(("key", "secret", "passphrase"), values, strict=True):
        path = folder / f"kucoin_{name}"
        path.write_text(f"{value}\n", encoding="ascii")
        path.chmod(0o600)
    return folder
