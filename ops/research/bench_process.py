"""The trading process measured from outside: how long its import takes, and its resident memory."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ops.research.bench_table import Budget, NotMeasuredError, Row, Section, Spread, spread

ROOT = Path(__file__).parents[2]
MEMORY = Budget(110.0, at_least=False)
RESEARCH = ("numpy", "numba", "llvmlite", "pandas", "pyarrow")
# `python -m bot` as the operator starts it, and at its end what it amounted to, as one JSON line.
# On Linux ru_maxrss would not do: it also counts the memory of the process that started this one.
PROBE = """
import json, os, resource, runpy, sys
try:
    runpy.run_module("bot", run_name="__main__", alter_sys=True)
except SystemExit:
    pass
if os.path.exists("/proc/self/status"):
    lines = open("/proc/self/status").read().splitlines()
    peak = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")][0]
else:  # macOS, where ru_maxrss is in bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak_mb": peak / 1e6, "modules": sorted(sys.modules)}), file=sys.stderr)
"""
IMPORT = "import bot.shell.cli_paper"
NOTHING = "pass"


def environment(folder: str) -> dict[str, str]:
    """Return the environment of a bot that knows nobody's settings.

    Bytecode is kept in `folder`: releases are byte-compiled, and the checkout stays as it is.
    """
    foreign = ("RADBOT_", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}


def seconds_of(code: str, folder: str) -> float:
    """Return how long a fresh interpreter takes for `code`, from start to exit."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(folder), check=True)
    return time.perf_counter() - began


def paper_memory(folder: str, duration: str) -> tuple[float, list[str]]:
    """Run paper trading in virtual time; return its peak in MB and the modules it had loaded."""
    arguments = ["paper", "--speed", "max", "--for", duration, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        told = json.loads(done.stderr.splitlines()[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise NotMeasuredError(f"paper trading failed: {done.stderr.strip()[-200:]}") from error
    return told["peak_mb"], told["modules"]


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB, as `ps` tells it."""
    told = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    if not told.stdout.strip():
        raise NotMeasuredError(f"ps does not know process {pid}: {told.stderr.strip()}")
    return int(told.stdout) * 1024 / 1e6


def steady_memory(folder: str, seconds: float) -> list[float]:
    """Return the resident memory of paper trading in real time, MB: half-way and at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "paper", "--json"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        found = []
        for _ in range(2):
            time.sleep(seconds / 2)
            found.append(resident_mb(process.pid))
        return found
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def import_rows(folder: str, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Return how long importing the command line takes, beside an interpreter that does nothing."""
    with_bot, bare = [], []
    for i in range(rounds + 1):
        say(f"round {i} of {rounds}: import")
        one, other = seconds_of(IMPORT, folder), seconds_of(NOTHING, folder)
        if i > 0:  # the first one writes the bytecode
            with_bot.append(one)
            bare.append(other)
    return [
        Row(IMPORT, "s", spread(with_bot), None, "a process from start to exit"),
        Row("an interpreter that does nothing", "s", spread(bare)),
    ]


def memory_rows(
    folder: str, durations: Sequence[str], steady_s: float, say: Callable[[str], None]
) -> list[Row]:
    """Return the memory of paper trading: peaks in virtual time, and resident in real time."""
    remark = "five symbols of 1m; without the live adapter, which the budget includes"
    rows: list[Row] = []
    loaded: list[str] = []
    for duration in durations:
        say(f"paper trading for {duration} of virtual time")
        peak, loaded = paper_memory(folder, duration)
        name = f"paper --speed max --for {duration}, peak"
        rows.append(Row(name, "MB", spread([peak]), MEMORY, remark))
    say(f"paper trading for {steady_s:g} s in real time")
    half, end = steady_memory(folder, steady_s)
    grown = f"{end - half:+.1f} MB in the second half of {steady_s:g} s"
    rows.append(Row("paper at speed 60, resident", "MB", Spread(end, half, end, 2), MEMORY, grown))
    research = [name for name in RESEARCH if name in loaded]
    return [
        *rows,
        Row(
            "research libraries in the trading process",
            "",
            spread([float(len(research))]),
            Budget(0.0, at_least=False),
            ", ".join(research) or f"none of {', '.join(RESEARCH)} among {len(loaded)} modules",
        ),
    ]


def process_section(quick: bool, rounds: int, say: Callable[[str], None]) -> Section:
    """Measure import and memory of the trading process."""
    durations, steady_s = (("1h",), 1.0) if quick else (("24h", "8d"), 30.0)
    with tempfile.TemporaryDirectory() as folder:
        rows = import_rows(folder, rounds, say)
        try:
            rows += memory_rows(folder, durations, steady_s, say)
        except NotMeasuredError as reason:
            rows.append(Row("memory of paper trading", "MB", None, MEMORY, str(reason)))
    return Section("the trading process", rows)
