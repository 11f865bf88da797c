"""Real processes: a bot in a directory of its own, and the commands that speak to it."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bot.adapters.control_socket import ControlUnavailable, ask

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0


def told_by(state: Path) -> dict[str, Any]:
    """Return the status that the bot itself tells; empty while nobody answers."""
    time.sleep(0.05)
    try:
        [answer] = ask(state / "control.sock", {"command": "status"}, 5.0)
    except ControlUnavailable:
        return {}
    return answer


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
        end = time.monotonic() + PATIENCE_S
        while not told_by(self.state).get("ready"):
            assert time.monotonic() < end, f"not ready in time, was {self.status()}"
        return process

    def spawn(
        self, *more: str, stdout: int | IO[str] = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start the bot."""
        words = ["paper", "--speed", "1200", "--metrics-port", "0", "--state", str(self.state)]
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *words, *more],
            env=self.env,
            cwd=self.state.parent,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def status(self) -> dict[str, Any]:
        """Return what is known of the bot; {} while neither it nor its journal says anything."""
        done = self.command("status", "--json")
        told = json.loads(done.stdout) if done.stdout else {}
        return told if "positions" in told else {}

    def until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Ask for the status until it is as wanted: the bot itself, which takes no process for each
        question, and the command where it does not answer."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            told = told_by(self.state) or self.status()
            if told and wanted(told):
                return told
        raise AssertionError(f"not in time, was {self.status()}")

    def kill_in_a_position(self) -> None:
        """Run the bot until it has a position, and end it there with kill -9."""
        while True:
            process = self.start()
            self.until(lambda told: told["positions"])
            process.kill()
            process.wait()
            if self.status()["positions"]:  # as its journal says: it did not close in between
                return


@contextmanager
def real_bot[B: Bot](kind: Callable[[Path], B] = Bot) -> Iterator[B]:
    """Yield a bot; whatever it has started is ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path is limited
        made = kind(Path(folder))
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.communicate()
