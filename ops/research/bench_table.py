"""What a measurement is and how it is shown: spreads, ratios within rounds, rows with a verdict."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

MET, MISSED, FAILED, NOT_MEASURED = "met", "MISSED", "FAILED", "NOT MEASURED"
HEADER = ("what", "median", "from .. to", "budget", "verdict", "remark")


class NotMeasuredError(Exception):
    """Something that a row needs is not there; the text says what."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements of one thing: median, smallest, largest, and how many."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit from the table of budgets in the design."""

    limit: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Return whether a measured value keeps the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report. Without a spread it was not measured, which never counts as met."""

    name: str
    unit: str
    measured: Spread | None
    budget: Budget | None = None
    remark: str = ""
    wrong: str = ""
    """why the number is void: what was measured is not what was meant"""

    @property
    def verdict(self) -> str:
        """What the row amounts to; empty for information without a budget."""
        if self.wrong:
            return FAILED
        if self.measured is None:
            return NOT_MEASURED
        if self.budget is None:
            return ""
        return MET if self.budget.met(self.measured.median) else MISSED

    def as_object(self) -> dict[str, object]:
        """Return the row for a machine."""
        return {**asdict(self), "verdict": self.verdict}


class Section(NamedTuple):
    """Rows about one subject."""

    title: str
    rows: list[Row]


class Outcome(NamedTuple):
    """One pass over a market: how long it took and what came of it."""

    seconds: float
    trades: int
    equity: float
    """at the end, USDT"""


def disagreement(ours: Outcome, theirs: Outcome) -> str:
    """Return how two outcomes differ, empty when they agree: as many trades, equity to 1e-6.

    >>> disagreement(Outcome(1.0, 3, 100.0), Outcome(2.0, 3, 100.00001))
    ''
    """
    if ours.trades != theirs.trades:
        return f"expected {ours.trades} trades, was {theirs.trades}"
    if not abs(ours.equity - theirs.equity) <= 1e-6 * abs(ours.equity):
        return f"expected a final equity of {ours.equity!r}, was {theirs.equity!r}"
    return ""


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value.

    >>> spread([3.0, 1.0, 2.0])
    Spread(median=2.0, low=1.0, high=3.0, rounds=3)
    """
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio_spread(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return the spread of ours / theirs, round by round.

    What slows the machine down for a while slows both halves of a round, so the ratio within a
    round is steadier than the ratio of two medians.

    >>> ratio_spread([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]).median
    3.0
    """
    return spread([our / their for our, their in zip(ours, theirs, strict=True)])


def growth_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return b of seconds = a x size^b by least squares on the logarithms; 1 is linear growth.

    >>> round(growth_exponent([1, 2, 4], [3.0, 6.0, 12.0]), 12)
    1.0
    """
    x = [math.log(size) for size in sizes]
    y = [math.log(second) for second in seconds]
    return statistics.linear_regression(x, y).slope


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5)
    2.0
    """
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def interleave(
    runs: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Run everything once per round, in turn (A B C A B C ...); return what each run returned."""
    results: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds):
        for name, run in runs.items():
            say(f"round {i + 1} of {rounds}: {name}")
            results[name].append(run())
    return results


class Contest:
    """Programs that take turns over the same bars; one that is not there says why."""

    def __init__(self, rounds: int, say: Callable[[str], None]) -> None:
        self.rounds = rounds
        self.say = say
        self.programs: dict[str, tuple[int, Callable[[], Outcome]]] = {}
        self.first: dict[str, Outcome] = {}
        """what each made of the bars in the pass that warms it up, which is not counted"""
        self.missing: dict[str, str] = {}
        self.speeds: dict[str, list[float]] = {}
        """millions of bars a second, round by round"""

    def enter(self, name: str, bars: int, prepare: Callable[[], Callable[[], Outcome]]) -> None:
        """Let a program over `bars` bars take part, and warm it up."""
        self.say(f"warming up: {name}")
        try:
            run = prepare()
            self.first[name] = run()
        except NotMeasuredError as reason:
            self.missing[name] = str(reason)
        else:
            self.programs[name] = (bars, run)

    def speed(self, name: str) -> float:
        """Run one program; return millions of bars a second."""
        bars, run = self.programs[name]
        return bars / run().seconds / 1e6

    def race(self) -> None:
        """Run all programs in turn, round by round."""
        runs = {name: lambda name=name: self.speed(name) for name in self.programs}
        self.speeds = interleave(runs, self.rounds, self.say)

    def row(self, name: str, unit: str, budget: Budget | None = None, wrong: str = "") -> Row:
        """Return the speed of one program."""
        if name in self.missing:
            return Row(name, unit, None, budget, self.missing[name])
        bars, _ = self.programs[name]
        remark = f"{bars:,} bars, {self.first[name].trades:,} trades"
        return Row(name, unit, spread(self.speeds[name]), budget, remark, wrong)

    def ratio(self, ours: str, theirs: str, budget: Budget | None = None) -> Row:
        """Return how many times as fast as `theirs` a program is, by the ratios within rounds."""
        name = f"{ours} / {theirs}"
        for side in (ours, theirs):
            if side in self.missing:
                return Row(name, "x", None, budget, self.missing[side])
        return Row(name, "x", ratio_spread(self.speeds[ours], self.speeds[theirs]), budget)

    def disagreement(self, ours: str, theirs: str) -> str:
        """Return how two outcomes differ; empty when they agree or one is not there."""
        if ours in self.missing or theirs in self.missing:
            return ""
        return disagreement(self.first[ours], self.first[theirs])


def number(value: float) -> str:
    """Return a number with three digits that count.

    >>> [number(x) for x in (12345.6, 21.345, 0.04567, 0.0)]
    ['12,346', '21.3', '0.0457', '0']
    """
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def amount(value: float, unit: str) -> str:
    """Return a number with its unit, where it has one."""
    return f"{number(value)} {unit}".rstrip()


def limit_text(budget: Budget | None) -> str:
    """Return a budget as people write it.

    >>> limit_text(Budget(10.0, at_least=False))
    'at most 10.0'
    """
    if budget is None:
        return ""
    return f"{'at least' if budget.at_least else 'at most'} {number(budget.limit)}"


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Return rows as a Markdown table whose columns also line up in a terminal."""
    cells = [list(HEADER)]
    for row in rows:
        got = row.measured
        middle = "-" if got is None else amount(got.median, row.unit)
        range_ = "" if got is None or got.rounds < 2 else f"{number(got.low)} .. {number(got.high)}"
        remark = row.wrong or row.remark
        cells.append([row.name, middle, range_, limit_text(row.budget), row.verdict, remark])
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADER))]
    cells.insert(1, ["-" * width for width in widths])
    return [
        "| " + " | ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]


def verdict_lines(rows: Sequence[Row]) -> list[str]:
    """Return one line for each row with a budget, and for whatever failed or was not measured."""
    lines = []
    for row in rows:
        if row.budget is None and row.verdict == "":
            continue
        got = "-" if row.measured is None else amount(row.measured.median, row.unit)
        wanted = f", budget {limit_text(row.budget)}" if row.budget else ""
        why = row.wrong or (row.remark if row.measured is None else "")
        lines.append(f"{row.verdict:<12}  {row.name}: {got}{wanted}" + (f": {why}" if why else ""))
    return lines
