"""The wire simulator as a process of its own, and what tests say to it through its control port."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "") -> Any:
        """Ask the control endpoint; return the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.control}/control/{path}",
            data,
            method=method or ("GET" if data is None else "POST"),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def advance(self, by_ms: int) -> int:
        """Let market time pass; return it."""
        return int(self.ask("advance", {"by_ms": by_ms})["now_ms"])

    def truth(self) -> dict[str, Any]:
        """Return the exchange's own books."""
        found: dict[str, Any] = self.ask("truth")
        return found

    def close(self) -> None:
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
