"""Measure the project beside its peers and against its budgets: `make bench`.

Everything that is compared takes turns within one run (A B C A B C ...), so that a machine that is
busy for a while is busy for all; ratios are taken within a round. What is missing is reported as
NOT MEASURED, whoever trades differently as FAILED: neither ever counts as met.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from ops.research.bench_backtest import (
    FULL,
    QUICK,
    compile_section,
    ema_cross_section,
    portfolio_section,
)
from ops.research.bench_live import live_section
from ops.research.bench_process import process_section
from ops.research.bench_step import step_section
from ops.research.bench_table import FAILED, MET, Row, Section, table_lines, verdict_lines

STEP_BARS, QUICK_STEP_BARS = 5_000, 60
EXAMPLES = """\
examples:
  make bench
  make bench ARGS="--quick"
  python -m ops.research.bench --peer-python .venv-bench/bin/python --json > bench.json
  python -m ops.research.bench --check        fails unless every budget is met

exit codes: 0 measured, 1 with --check when a budget is missed, failed or not measured, 2 bad option
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.research.bench",
        description="Measure backtest, live path and process against budgets and peers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--peer-python", metavar="FILE", help="interpreter with vectorbt (.venv-bench/bin/python)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds instead of minutes; numbers say little"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit 1 unless every budget is measured and met"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def speaker(quiet: bool) -> Callable[[str], None]:
    """Return what tells a watching person how far the work is: one line, written over."""
    if quiet or not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)


def installed(package: str) -> str:
    """Return the version of a package of this interpreter, or `none`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def compiler() -> str:
    """Return what `cc` says about itself, or `none`."""
    found = shutil.which("cc")
    if found is None:
        return "none"
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return (told.stdout.splitlines() or ["unknown"])[0]


def processor() -> str:
    """Return the name of the processor where Linux tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def load() -> str:
    """Return the load averages over 1, 5 and 15 minutes: our own work counts as about 1."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


class Report(NamedTuple):
    """Everything that was measured, and on what."""

    quick: bool
    rounds: int
    machine: dict[str, str]
    sections: list[Section]

    def rows(self) -> list[Row]:
        """Return the rows of all sections."""
        return [row for section in self.sections for row in section.rows]

    def broken(self) -> list[Row]:
        """Return what `--check` fails for: failed rows, and budgets not known to be met."""
        return [
            row
            for row in self.rows()
            if row.verdict == FAILED or (row.budget is not None and row.verdict != MET)
        ]

    def as_object(self) -> dict[str, object]:
        """Return the report for a machine."""
        sections = [
            {"title": section.title, "rows": [row.as_object() for row in section.rows]}
            for section in self.sections
        ]
        return {**self._asdict(), "sections": sections}


def measure(quick: bool, peer_python: str | None, say: Callable[[str], None]) -> Report:
    """Measure everything."""
    sizes = QUICK if quick else FULL
    before = load()
    crossing, vectorbt = ema_cross_section(sizes, peer_python, say)
    sections = [
        crossing,
        portfolio_section(sizes, say),
        step_section(QUICK_STEP_BARS if quick else STEP_BARS, sizes.rounds, say),
        process_section(quick, sizes.rounds, say),
        live_section(quick, say),
        compile_section(quick, say),
    ]
    say("")
    machine = {
        "processor": f"{os.cpu_count()} cores, {processor()}",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numba": installed("numba"),
        "vectorbt": vectorbt,
        "cc": compiler(),
        "load before": before,
        "load after": load(),
    }
    return Report(quick, sizes.rounds, machine, sections)


def print_report(report: Report) -> None:
    """Print tables for a person, and at the end what each budget came to."""
    print("\n".join(f"{name}: {value}" for name, value in report.machine.items()))
    print(f"{report.rounds} rounds, taking turns; median and range over the rounds")
    for section in report.sections:
        print(f"\n## {section.title}\n")
        print("\n".join(table_lines(section.rows)))
    print("\n## Budgets\n")
    print("\n".join(verdict_lines(report.rows())))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    args = build_parser().parse_args(argv)
    report = measure(args.quick, args.peer_python, speaker(args.json))
    if args.json:
        print(json.dumps(report.as_object(), allow_nan=False))
    else:
        print_report(report)
    return 1 if args.check and report.broken() else 0


if __name__ == "__main__":
    raise SystemExit(main())
