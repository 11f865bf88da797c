"""Real processes: a bot in a directory of its own, and the commands that speak to it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


class Bot:
    """A state directory, and the processes that work on it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "s"
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "RADBOT_LOCK_DIR": str(folder)}
        self.processes: list[subprocess.Popen[str]] = []

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.command_of(*words, "--state", str(self.state))

    def command_of(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bot", *words],
            env=self.env,
            cwd=self.state.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start the bot and wait until it says that it is ready."""
        process = self.spawn(*more)
        self.until(lambda told: told.get("source") == "bot" and told["ready"])
        return process

    def spawn(self, *more: str) -> subprocess.Popen[str]:
        """Start the bot."""
        words = ["paper", "--speed", "1200", "--metrics-port", "0", "--state", str(self.state)]
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *words, *more],
            env=self.env,
            cwd=self.state.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def status(self) -> dict[str, Any]:
        done = self.command("status", "--json")
        return json.loads(done.stdout) if done.stdout else {}

    def until(self, wanted: Any) -> dict[str, Any]:
        """Ask for the status until it is as wanted."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            told = self.status()
            if told and wanted(told):
                return told
        raise AssertionError(f"not in time, was {self.status()}")


@contextmanager
def real_bot() -> Iterator[Bot]:
    """Yield a bot; whatever it has started is ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path is limited
        made = Bot(Path(folder))
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.communicate()
