"""Candles of the wire simulator: history, the forming bar, longer bars, holes."""

from typing import Any

import pytest

from bot.core.kernel.params import Spec
from bot.core.market import Bar
from ops.exchange.candles import MINUTE_MS, CandleStore, contracts_of, served
from ops.exchange.refusal import RefusedError
from tests.support.wire_desk import MINUTE, PAST, START, SYMBOL, Desk

HOUR = 60 * MINUTE_MS
SPEC = Spec(multiplier=0.1, tick=0.1, ticks_per_unit=10.0)
PATH = "/api/v1/kline/query"


def store(count: int, *, missing: tuple[int, ...] = ()) -> CandleStore:
    """Return minutes from START whose opens are 0.1, 1.1, 2.1 ..."""
    made = CandleStore([SPEC], MINUTE_MS, 13)
    for i in range(count):
        if i not in missing:
            bar = Bar(i + 0.1, i + 0.3, i + 0.05, i + 0.2, 1.0)
            made.add(0, START + i * MINUTE_MS, bar)
    return made


def opens(rows: list[list[float]]) -> list[int]:
    return [int(row[0] - START) // MINUTE_MS for row in rows]


def test_rows_are_as_they_were_recorded() -> None:
    rows = store(3).query(0, 1, START, START + HOUR)
    assert rows[1] == [START + MINUTE_MS, 1.1, 1.3, 1.05, 1.2, 10]


def test_a_bar_without_a_trade_is_absent() -> None:
    assert opens(store(5, missing=(1, 3)).query(0, 1, START, START + HOUR)) == [0, 2, 4]


def test_longer_bars_are_put_together() -> None:
    rows = store(12, missing=(5, 7)).query(0, 5, START, START + HOUR)
    assert rows == [
        [START, 0.1, 4.3, 0.05, 4.2, 50],
        [START + 5 * MINUTE_MS, 6.1, 9.3, 6.05, 9.2, 30],
        [START + 10 * MINUTE_MS, 10.1, 11.3, 10.05, 11.2, 20],
    ]


def test_a_window_holds_both_its_ends_and_rows_are_whole() -> None:
    made = store(60)
    assert opens(made.query(0, 1, START + 2 * MINUTE_MS, START + 4 * MINUTE_MS)) == [2, 3, 4]
    # the bar of 00:00 opens before the window and is not cut to it
    assert opens(made.query(0, 5, START + 1, START + 11 * MINUTE_MS)) == [5, 10]


def test_at_most_500_rows_follow_the_start_or_end_at_the_end() -> None:
    made = store(1_200)
    rows = made.query(0, 1, START + 10 * MINUTE_MS, START + 1_199 * MINUTE_MS)
    assert opens(rows) == list(range(10, 510))
    rows = made.query(0, 1, None, START + 1_199 * MINUTE_MS)
    assert opens(rows) == list(range(700, 1_200))


def test_weeks_begin_on_monday() -> None:
    made = store(1)  # 2025-01-01 was a Wednesday
    [row] = made.query(0, 10_080, START - 7 * 24 * HOUR, START + HOUR)
    assert row[0] == START - 2 * 24 * HOUR


@pytest.mark.parametrize(
    ("minutes", "base", "known"),
    [(1, 1, True), (5, 1, True), (3, 1, False), (1, 60, False), (60, 60, True), (240, 60, True)],
)
def test_bars_are_served_that_the_base_makes_up(minutes: int, base: int, known: bool) -> None:
    assert served(minutes, base * MINUTE_MS) is known


def test_volume_is_in_whole_contracts() -> None:
    assert [contracts_of(v, SPEC) for v in (0.0, 0.01, 1.0, 1.26)] == [0, 1, 10, 13]


def test_old_bars_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.exchange.candles.KEPT", 10)
    made = store(100)
    assert 10 <= len(made.bars[0]) <= 20
    assert made.times[0][-1] == START + 99 * MINUTE_MS


def ask(desk: Desk, granularity: Any = 1, **window: Any) -> list[list[float]]:
    found: list[list[float]] = desk.call(
        "GET", PATH, symbol=SYMBOL, granularity=granularity, **window
    )
    return found


def test_the_forming_bar_is_the_last_row_and_then_the_recorded_one() -> None:
    desk = Desk((100.0, 101.3))
    assert opens(ask(desk)) == list(range(PAST))  # no price of the running bar yet
    desk.step(30_000)
    forming = ask(desk)[-1]
    assert forming[0] == START + PAST * MINUTE
    assert (forming[1], forming[3]) == (100.0, 100.0)
    assert 100.0 < forming[4] == forming[2] < 101.3
    assert 0 < forming[5] < 26
    desk.step(30_000)
    assert ask(desk)[-1] == [START + PAST * MINUTE, 100.0, 101.3, 100.0, 101.3, 26]


def test_nothing_of_the_future_is_served() -> None:
    desk = Desk(*[100.0 + i for i in range(10)])
    desk.step(3 * MINUTE + 1)
    end = desk.now + 10 * MINUTE
    for window in ({}, {"from": START, "to": end}, {"to": end}):
        rows = ask(desk, **window)
        assert max(row[0] for row in rows) <= desk.now
        assert max(row[2] for row in rows) == 103.0


def test_a_bar_that_is_missing_from_the_record_is_missing_here() -> None:
    desk = Desk(100.0, None, 102.0)
    desk.bars(3)
    assert opens(ask(desk)) == [*range(PAST), PAST, PAST + 2]


def test_candles_can_be_late() -> None:
    desk = Desk(*[100.0 + i for i in range(10)])
    desk.wire.faults.add({"kind": "late_klines", "ms": 2_300})
    desk.bars(2)
    desk.step(2_299)
    assert opens(ask(desk)) == [*range(PAST), PAST]
    desk.step(1)
    assert opens(ask(desk)) == [*range(PAST), PAST, PAST + 1]
    assert desk.wire.faults.describe()[0]["fired"] == 2
    desk.wire.faults.clear()
    assert opens(ask(desk)) == [*range(PAST), PAST, PAST + 1, PAST + 2]


@pytest.mark.parametrize("granularity", ["3", "1m", "0", "-1", "", "9" * 30])
def test_an_unknown_length_is_refused(granularity: str) -> None:
    with pytest.raises(RefusedError, match="100001 granularity"):
        ask(Desk(100.0), granularity)
