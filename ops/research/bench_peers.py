"""The peers of the backtest: hand-written C, vectorbt, and a loop as one writes it in plain Python.

All of them trade ema_cross (DESIGN section 11) on the same bars. A peer that is not there raises
NotMeasuredError with the reason; a peer that trades differently is worth nothing as a yardstick, so
trades and equity come back with every time.
"""

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from bot.core.market import Candles
from ops.research.bench_table import NotMeasuredError, Outcome
from ops.research.compiled import cache_root

PEERS = Path(__file__).parent / "peers"
# No -ffast-math, and no fused multiply-add: both trade other prices than the rules say.
C_OPTIONS = ("-O2", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-ffp-contract=off")
FEE, SLIPPAGE, SHARE, STOP, TARGET = 0.0006, 0.0002, 0.3, 0.02, 0.04
FIRST_SIGNAL = 48  # bar index


def write_market(path: Path, candles: Candles) -> None:
    """Write open, high, low, close, one column after the other, as native doubles."""
    with path.open("wb") as file:
        for column in (candles.open, candles.high, candles.low, candles.close):
            column.tofile(file)


class CLoop:
    """peers/ema_cross.c, compiled on the spot.

    Raises
    ------
    NotMeasuredError : there is no C compiler, or it refuses the file
    """

    def __init__(self, market: Path, bars: int, balance: float) -> None:
        source = PEERS / "ema_cross.c"
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotMeasuredError("no C compiler: expected cc on the PATH")
        told = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
        key = hashlib.sha256(told + " ".join(C_OPTIONS).encode() + source.read_bytes()).hexdigest()
        program = cache_root() / "bench" / f"ema_cross-{key[:16]}"
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            done = subprocess.run(
                [compiler, *C_OPTIONS, "-o", str(program), str(source), "-lm"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise NotMeasuredError(f"cc failed: {done.stderr.strip()[:300]}")
        self.command = [str(program), str(market), str(bars), repr(balance)]

    def run(self) -> Outcome:
        """Trade the bars once; the time is taken inside the program."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotMeasuredError(f"the C loop failed: {done.stderr.strip()[:300]}")
        seconds, trades, equity = done.stdout.split()
        return Outcome(float(seconds), int(trades), float(equity))


class VectorBt:
    """vectorbt in its own interpreter, warm: import and compilation are over when this is built.

    Raises
    ------
    NotMeasuredError : the interpreter is missing, or vectorbt cannot be imported there
    """

    def __init__(self, python: str, market: Path, bars: int, balance: float) -> None:
        self.python = python
        self.balance = balance
        script = PEERS / "vectorbt_ema_cross.py"
        try:
            self.process = subprocess.Popen(
                [python, str(script), str(market), str(bars), repr(balance)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except OSError as error:
            raise NotMeasuredError(f"no interpreter {python}: {error.strerror}") from error
        try:
            self.hello = self.answer()
        except NotMeasuredError:
            self.close()
            raise

    def answer(self) -> dict[str, Any]:
        """Return the next JSON line of the process; what it prints beside them is passed over."""
        assert self.process.stdout is not None
        last = "the process ended"
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
            last = line.strip() or last
        raise NotMeasuredError(f"vectorbt in {self.python}: {last}")

    def run(self) -> Outcome:
        """Trade the bars once; the time is taken inside the process."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        told = self.answer()
        return Outcome(told["seconds"], told["trades"], self.balance + told["profit"])

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


class Held(NamedTuple):
    """An open position of the plain loop."""

    side: int
    quantity: float
    price: float


def leave(held: Held, price: float) -> float:
    """Return what closing at `price` brings, after the fees of both fills, USDT."""
    fees = FEE * held.quantity * (held.price + price)
    return held.side * (price - held.price) * held.quantity - fees


def level_price(held: Held, open_: float, high: float, low: float) -> float:
    """Return what the bar closes the position at, 0 for not at all: the stop first."""
    side = held.side
    stop, target = held.price * (1.0 - side * STOP), held.price * (1.0 + side * TARGET)
    if side > 0:
        if low <= stop:
            return min(stop, open_) * (1.0 - SLIPPAGE)
        return max(target, open_) if high >= target else 0.0
    if high >= stop:
        return max(stop, open_) * (1.0 + SLIPPAGE)
    return min(target, open_) if low <= target else 0.0


def plain_loop(candles: Candles, balance: float) -> Outcome:
    """Trade ema_cross with nothing but a loop, lists and floats: what one writes first."""
    bars = list(zip(candles.open, candles.high, candles.low, candles.close, strict=True))
    began = time.perf_counter()
    cash, trades, wanted, difference = balance, 0, 0, 0.0
    held: Held | None = None
    fast = slow = bars[0][3]
    for t, (open_, high, low, close) in enumerate(bars):
        if wanted:
            if held is not None:
                cash += leave(held, open_ * (1.0 - held.side * SLIPPAGE))
                trades += 1
            price = open_ * (1.0 + wanted * SLIPPAGE)
            held = Held(wanted, SHARE * cash / price, price)
            wanted = 0
        if held is not None:
            price = level_price(held, open_, high, low)
            if price > 0.0:
                cash += leave(held, price)
                trades += 1
                held = None
        before = difference
        fast += 2.0 / 13.0 * (close - fast)
        slow += 2.0 / 49.0 * (close - slow)
        difference = fast - slow
        if t >= FIRST_SIGNAL:
            crossed = 1 if before <= 0.0 < difference else -1 if before >= 0.0 > difference else 0
            if crossed and (held is None or held.side != crossed):
                wanted = crossed
    if held is not None:
        cash += leave(held, bars[-1][3] * (1.0 - held.side * SLIPPAGE))
        trades += 1
    return Outcome(time.perf_counter() - began, trades, cash)
