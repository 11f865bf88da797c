"""The benchmark: its arithmetic, its honesty about what is missing, and peers that trade alike."""

import json
import shutil
from array import array
from pathlib import Path

import pytest

from bot.core.kernel.codes import END, REVERSAL, STOP, TARGET
from bot.core.market import Candles
from ops.research import bench
from ops.research.bench_backtest import QUICK, race_rows
from ops.research.bench_peers import CLoop, VectorBt, plain_loop, write_market
from ops.research.bench_runs import walk
from ops.research.bench_step import PaperRun, per_second, step_pass
from ops.research.bench_table import (
    FAILED,
    MET,
    MISSED,
    NOT_MEASURED,
    Budget,
    Contest,
    NotMeasuredError,
    Outcome,
    Row,
    Section,
    Spread,
    disagreement,
    growth_exponent,
    interleave,
    percentile,
    ratio_spread,
    spread,
    table_lines,
    verdict_lines,
)
from tests.support.paper import market_data
from tests.support.worlds import (
    Market,
    bars_of,
    market_of,
    random_market,
    reference_world,
    run_plain,
)

BTC = ("BTC-USDT-PERP",)
BALANCE = 10_000.0
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="NOT RUN: no C compiler here")


def silent(_text: str) -> None:
    pass


def measured(median: float) -> Spread:
    return Spread(median, median, median, 1)


def test_spread_of_an_odd_and_an_even_number_of_rounds() -> None:
    assert spread([5.0, 1.0, 3.0]) == Spread(median=3.0, low=1.0, high=5.0, rounds=3)
    assert spread([4.0, 1.0]) == Spread(median=2.5, low=1.0, high=4.0, rounds=2)


def test_ratios_are_taken_within_a_round() -> None:
    """The machine was half as fast in the second round; the ratio of medians would be 1.5."""
    ours, theirs = [30.0, 15.0, 30.0, 60.0], [10.0, 5.0, 20.0, 40.0]
    assert ratio_spread(ours, theirs) == Spread(median=2.25, low=1.5, high=3.0, rounds=4)
    assert spread(ours).median / spread(theirs).median == 2.0


def test_ratios_of_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio_spread([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("seconds", "exponent"), [([2.0, 4.0, 8.0], 1.0), ([1.0, 4.0, 16.0], 2.0), ([3.0] * 3, 0.0)]
)
def test_growth_exponent(seconds: list[float], exponent: float) -> None:
    assert growth_exponent([10.0, 20.0, 40.0], seconds) == pytest.approx(exponent, abs=1e-12)


def test_percentile_is_a_value_that_was_seen() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7.0


def test_events_per_second_are_in_thousands() -> None:
    assert per_second([1e-3, 3e-3]) == pytest.approx(0.5)


def test_runs_take_turns() -> None:
    order: list[str] = []

    def run(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = interleave({"a": lambda: run("a"), "b": lambda: run("b")}, 3, silent)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert found == {"a": [1.0, 3.0, 5.0], "b": [2.0, 4.0, 6.0]}


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("speed", "x", measured(15.0), Budget(15.0)), MET),
        (Row("speed", "x", measured(14.9), Budget(15.0)), MISSED),
        (Row("memory", "MB", measured(110.0), Budget(110.0, at_least=False)), MET),
        (Row("memory", "MB", measured(110.1), Budget(110.0, at_least=False)), MISSED),
        (Row("speed", "x", None, Budget(15.0)), NOT_MEASURED),
        (Row("speed", "x", measured(99.0), Budget(15.0), wrong="other trades"), FAILED),
        (Row("for information", "x", measured(1.0)), ""),
        (Row("absent", "x", None), NOT_MEASURED),
    ],
)
def test_verdicts(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


def report_of(*rows: Row) -> bench.Report:
    return bench.Report(True, 1, {}, [Section("all", list(rows))])


def test_check_fails_for_budgets_not_met_and_for_whoever_trades_otherwise() -> None:
    fine = Row("fine", "x", measured(2.0), Budget(1.0))
    slow = Row("slow", "x", measured(0.5), Budget(1.0))
    absent = Row("absent", "x", None, Budget(1.0))
    other = Row("other", "x", measured(2.0), wrong="other trades")
    without_budget = Row("no peer", "x", None)
    assert report_of(fine, slow, absent, other, without_budget).broken() == [slow, absent, other]
    assert report_of(fine, without_budget).broken() == []


def test_tables_say_loudly_what_is_missing() -> None:
    rows = [
        Row("vectorbt", "M bars/s", None, remark="no interpreter"),
        Row("loop", "M bars/s", Spread(21.34, 9.0, 30.0, 5), Budget(15.0), "26 trades"),
        Row("libraries", "", measured(0.0), Budget(0.0, at_least=False)),
    ]
    lines = table_lines(rows)
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["vectorbt", "-", "", "", "NOT MEASURED", "no interpreter"],
        ["loop", "21.3 M bars/s", "9.00 .. 30.0", "at least 15.0", "met", "26 trades"],
        ["libraries", "0", "", "at most 0", "met", ""],
    ]
    assert verdict_lines(rows) == [
        "NOT MEASURED  vectorbt: -: no interpreter",
        "met           loop: 21.3 M bars/s, budget at least 15.0",
        "met           libraries: 0, budget at most 0",
    ]


def test_outcomes_agree_by_trades_and_by_equity() -> None:
    ours = Outcome(1.0, 7, 100.0)
    assert disagreement(ours, Outcome(9.0, 7, 100.0 + 9e-5)) == ""
    assert disagreement(ours, Outcome(1.0, 8, 100.0)) == "expected 7 trades, was 8"
    assert "final equity of 100.0, was 100.001" in disagreement(ours, Outcome(1.0, 7, 100.001))
    assert disagreement(ours, Outcome(1.0, 7, float("nan"))) != ""


def absent() -> Outcome:
    raise NotMeasuredError("it is not installed")


def test_a_contest_reports_who_is_missing_and_rates_the_others() -> None:
    contest = Contest(2, silent)
    contest.enter("ours", 4_000_000, lambda: lambda: Outcome(2.0, 7, 100.0))
    contest.enter("theirs", 4_000_000, lambda: lambda: Outcome(8.0, 7, 101.0))
    contest.enter("absent", 4_000_000, lambda: absent)
    contest.race()
    row = contest.row("ours", "M bars/s", Budget(1.0))
    assert row.measured == Spread(2.0, 2.0, 2.0, 2)
    assert row.remark == "4,000,000 bars, 7 trades"
    assert contest.ratio("ours", "theirs").measured == Spread(4.0, 4.0, 4.0, 2)
    assert contest.disagreement("ours", "theirs").startswith("expected a final equity")
    for missing in (contest.row("absent", ""), contest.ratio("ours", "absent", Budget(5.0))):
        assert (missing.verdict, missing.remark) == (NOT_MEASURED, "it is not installed")
    assert contest.disagreement("ours", "absent") == ""


def test_walks_are_repeatable_and_their_beginnings_alike() -> None:
    long, short = (walk(("A-USDT-PERP", *BTC)[:n], "1m", n * 500, 0.01, True) for n in (2, 1))
    one, other = long.candles[0], short.candles[0]
    assert one.close[:500] == other.close
    assert one.high[:500] == other.high
    assert long.candles[1].close != one.close
    assert list(short.funding[0].timestamp) == [other.timestamp[0], other.timestamp[480]]
    rows = zip(one.open, one.high, one.low, one.close, strict=True)
    assert all(0.0 < low <= min(o, c) <= max(o, c) <= high for o, high, low, c in rows)


def rough(seed: int) -> Market:
    return random_market(seed, 1, 4_000, volatility=0.004, gaps=0.05, holes=0.02, funding=False)


# The last two markets jump after a calm: on bar 48, the first that counts, and one bar before it.
MARKETS = {
    "rough 1": (rough(1), {STOP, TARGET, REVERSAL}),
    "rough 2": (rough(2), {STOP, TARGET, REVERSAL}),
    "still open at the end": (market_of(bars_of([100.0] * 48 + [101.0] * 3)), {END}),
    "crossed too early": (market_of(bars_of([100.0] * 47 + [101.0] * 4)), set()),
}
markets = pytest.mark.parametrize("name", MARKETS)


def outcome_of_the_kernel(name: str) -> tuple[Candles, Outcome]:
    """Return the bars of a market and what the kernel makes of them."""
    market, reasons = MARKETS[name]
    run = run_plain(reference_world(balance=BALANCE), market)
    assert {trade.reason for trade in run.trades} >= reasons
    return market_data(market).candles[0], Outcome(1.0, len(run.trades), run.world.account.equity)


@markets
def test_the_plain_loop_trades_like_the_kernel(name: str) -> None:
    candles, ours = outcome_of_the_kernel(name)
    assert disagreement(ours, plain_loop(candles, BALANCE)) == ""


@needs_cc
@markets
def test_the_c_loop_trades_like_the_kernel(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_CACHE_DIR", str(tmp_path))
    candles, ours = outcome_of_the_kernel(name)
    write_market(tmp_path / "market.bin", candles)
    theirs = CLoop(tmp_path / "market.bin", len(candles), BALANCE).run()
    assert disagreement(ours, theirs) == ""
    assert 0.0 < theirs.seconds < 10.0


@needs_cc
def test_the_c_loop_refuses_a_file_that_is_too_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADBOT_CACHE_DIR", str(tmp_path))
    (tmp_path / "market.bin").write_bytes(array("d", [1.0] * 7).tobytes())
    with pytest.raises(NotMeasuredError, match="expected MARKET BARS BALANCE"):
        CLoop(tmp_path / "market.bin", 2, BALANCE).run()


def test_without_a_compiler_the_c_loop_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotMeasuredError, match="no C compiler"):
        CLoop(tmp_path / "market.bin", 1, BALANCE)


def script(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_peer_interpreter_that_is_missing_or_broken_is_not_measured(tmp_path: Path) -> None:
    file = tmp_path / "market.bin"
    with pytest.raises(NotMeasuredError, match=r"no interpreter .*/python: No such file"):
        VectorBt(str(tmp_path / "python"), file, 1, BALANCE)
    broken = script(tmp_path / "broken", "echo Traceback", "echo 'No module named vectorbt' >&2")
    with pytest.raises(NotMeasuredError, match="broken: No module named vectorbt"):
        VectorBt(broken, file, 1, BALANCE)


def test_the_peer_process_answers_each_line(tmp_path: Path) -> None:
    answer = '{"seconds": 0.5, "trades": 3, "profit": -7.0}'
    python = script(
        tmp_path / "python",
        "echo a warning",
        """echo '{"version": "1.2.3", "numba": "0.1"}'""",
        f"while read line; do echo '{answer}'; done",
    )
    peer = VectorBt(python, tmp_path / "market.bin", 1, BALANCE)
    assert peer.hello["version"] == "1.2.3"
    assert [peer.run(), peer.run()] == [Outcome(0.5, 3, 9_993.0)] * 2
    peer.close()
    assert peer.process.returncode is not None


def test_a_peer_that_trades_otherwise_fails_its_row() -> None:
    contest = Contest(1, silent)
    for name, trades in {
        "compiled loop": 7,
        "run_backtest": 7,
        "C loop": 8,
        "vectorbt": 9,
        "kernel in plain Python": 2,
        "plain Python loop": 2,
    }.items():
        outcome = Outcome(1.0, trades, 100.0)
        contest.enter(name, 20_000_000, lambda outcome=outcome: lambda: outcome)
    contest.race()
    verdicts = {row.name: row.verdict for row in race_rows(contest)}
    assert {name for name, verdict in verdicts.items() if verdict == FAILED} == {"C loop"}
    assert verdicts["compiled loop"] == MET
    assert verdicts["compiled loop / vectorbt"] == MISSED


def test_the_events_of_a_paper_run_lead_to_the_same_state_again() -> None:
    run = PaperRun(40)
    seconds, same = step_pass(run)
    assert same
    assert len(seconds) == len(run.events) > 39
    assert min(seconds) > 0.0
    timed = run.engine()
    run.play(timed)
    assert len(timed.cycle_s) == 40
    assert timed.state.digest() == run.digest


def test_a_quick_run_reports_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--quick", "--json", "--check"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["quick"] is True
    assert report["machine"].keys() >= {"processor", "python", "numba", "vectorbt", "cc"}
    assert report["machine"]["vectorbt"] == "none"
    rows = {row["name"]: row for section in report["sections"] for row in section["rows"]}
    assert rows["vectorbt"]["verdict"] == NOT_MEASURED
    assert "no interpreter" in rows["vectorbt"]["remark"]
    assert rows["compiled loop / vectorbt"]["verdict"] == NOT_MEASURED
    assert [name for name, row in rows.items() if row["verdict"] == FAILED] == []
    for name in ("plain Python loop", "core.step, every event", "paper at speed 60, resident"):
        assert rows[name]["measured"]["median"] > 0.0
    for name in ("kernel in plain Python", "whole engine, every event"):
        assert rows[name]["measured"]["rounds"] == QUICK.rounds
    assert rows["research libraries in the trading process"]["verdict"] == MET
    if shutil.which("cc"):
        assert rows["C loop"]["measured"]["median"] > 0.0
    else:
        assert rows["C loop"]["verdict"] == NOT_MEASURED


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.main(["--help"])
    assert stopped.value.code == 0
    assert "make bench" in capsys.readouterr().out
