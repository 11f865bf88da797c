"""`radbot live` as a real process on a running wire simulator, and what people say to it."""

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import PATIENCE_S, Bot, real_bot, told_by
from tests.support.wire import Simulator, credentials_folder

SYMBOLS = "BTC-USDT-PERP,ETH-USDT-PERP"
SPEED = "12"
EAGER = (
    f"exchange.speed={SPEED}",
    "strategies=[momentum]",
    "momentum.period=3",
    "momentum.entry=0.1",
    "momentum.exit=-50",
    "warmup_bars=5",
    "regime.slow=30",
    # In market time, of which a read takes so many times more than on the real exchange.
    "timing.uncovered_alert_s=18",
    "timing.uncovered_close_s=19",
)
"""settings under which a bot enters with its first bar, and stays"""


class LiveBot(Bot):
    """A state directory of a live bot, its credentials, and the processes that work on it."""

    def __init__(self, folder: Path, exchange: Simulator) -> None:
        super().__init__(folder)
        self.exchange = exchange
        self.keys = credentials_folder(folder / "keys")
        self.keyboards: list[int] = []
        self.env.pop("TEST_MODE", None)

    def words(self, *more: str) -> list[str]:
        """Return the command line without its confirmation; later options win."""
        words = ["live", "--exchange", self.exchange.futures, self.exchange.spot]
        words += ["--credentials", str(self.keys), "--state", str(self.state)]
        words += ["--symbols", SYMBOLS, "--metrics-port", "0"]
        return [*words, *(f"--set={one}" for one in EAGER), *more]

    def live(self, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `radbot live` to its end."""
        return self.run(*self.words(*more), **environment)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; nobody is at its terminal."""
        return subprocess.run(
            [sys.executable, "-m", "bot", *words],
            env={**self.env, **environment},
            cwd=self.state.parent,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def spawn(self, *more: str) -> subprocess.Popen[str]:
        """Start it, confirmed."""
        return self.begin(subprocess.DEVNULL, "--yes", *more)

    def at_a_terminal(self, typed: str, *more: str) -> subprocess.Popen[str]:
        """Start it on a terminal at which somebody types."""
        keyboard, terminal = pty.openpty()
        try:
            os.write(keyboard, f"{typed}\n".encode())
            return self.begin(terminal, *more)
        finally:
            os.close(terminal)
            self.keyboards.append(keyboard)

    def begin(self, stdin: int, *more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *self.words(*more)],
            env=self.env,
            cwd=self.state.parent,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def status(self) -> dict[str, Any]:
        return told_by(self.state)

    def held(self) -> dict[str, Any]:
        """Wait until the exchange has a position under a stop; return the exchange's books."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            truth = self.exchange.truth()
            stops = {order["symbol"] for order in truth["orders"] if order["role"] == "stop"}
            if truth["positions"] and {p["symbol"] for p in truth["positions"]} <= stops:
                return truth
            time.sleep(0.05)
        raise AssertionError(f"never in a position, was {self.status()}")


@contextmanager
def live_bot(exchange: Simulator) -> Iterator[LiveBot]:
    """Yield a live bot that was never started, on a new account; whatever it starts is ended."""
    exchange.ask("reset", {})
    with real_bot(lambda folder: LiveBot(folder, exchange)) as made:
        try:
            yield made
        finally:
            for keyboard in made.keyboards:
                os.close(keyboard)
