"""Metrics by hand, what is undefined, and the result object."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import fsum, inf, isclose, nan, sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.kernel.codes import MOMENTUM, TREND
from bot.core.kernel.records import Account
from bot.core.market import DAY_MS, HOUR_MS
from bot.core.performance import (
    longest_losing_streak,
    profit_factor,
    sharpe_ratio,
    sortino_ratio,
    win_rate,
)
from bot.core.summary import (
    daily_returns,
    equity_series,
    iso_time,
    metrics,
    result_object,
)
from tests.support.runs import BTC, ETH, PNLS, T0, random_trades, run_result, three_days, trade

CONTRACT_KEYS = {"bars", "elapsed_s", "trades", "halted_at", "funding_source", "spec_source"}
CONTRACT_METRICS = {
    "profit_factor", "sharpe_ratio", "sortino_ratio", "max_drawdown_pct", "win_rate",
    "total_return_pct", "expectancy_usdt", "fees_usdt", "funding_usdt", "exposure_pct",
    "avg_trade_hours", "collisions", "collisions_unresolved",
}  # fmt: skip


# -- ratios ----------------------------------------------------------------------------------------


def test_sharpe_ratio_by_hand() -> None:
    # mean 0.05 / 3; squared deviations (0.25**2 + 0.35**2 + 0.1**2) / 9 = 0.065 / 3; n - 1 = 2
    expected = (0.05 / 3) / sqrt(0.065 / 6) * sqrt(365)
    assert sharpe_ratio([0.1, -0.1, 0.05]) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(3.0593, abs=1e-4)


def test_sortino_ratio_by_hand() -> None:
    # one negative return among three: downside deviation sqrt(0.1**2 / 3)
    expected = (0.05 / 3) / (0.1 / sqrt(3)) * sqrt(365)
    assert sortino_ratio([0.1, -0.1, 0.05]) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(5.5151, abs=1e-4)


@pytest.mark.parametrize(
    "returns",
    [[], [0.01], [0.0, 0.0, 0.0], [0.1, 0.1 + 1e-15, 0.1]],
    ids=["none", "one", "flat", "equal but for rounding"],
)
def test_ratios_without_deviation_are_undefined(returns: list[float]) -> None:
    assert sharpe_ratio(returns) is None
    assert sortino_ratio(returns) is None


def test_sortino_ratio_without_a_negative_return_is_undefined() -> None:
    assert sortino_ratio([0.01, 0.02, 0.0]) is None
    assert sharpe_ratio([0.01, 0.02, 0.0]) is not None


def test_ratios_of_losing_days_are_negative() -> None:
    # mean -0.02, downside sqrt((0.01**2 + 0.03**2) / 2); deviation sqrt(2 * 0.01**2 / 1)
    assert sortino_ratio([-0.01, -0.03]) == pytest.approx(-0.02 / sqrt(0.0005) * sqrt(365))
    assert sharpe_ratio([-0.01, -0.03]) == pytest.approx(-0.02 / sqrt(0.0002) * sqrt(365))


def test_trade_statistics_by_hand() -> None:
    assert profit_factor(PNLS) == 3.0  # (100 + 200) / (50 + 25 + 25)
    assert win_rate(PNLS) == pytest.approx(100.0 * 2 / 6)  # 0 is not a win
    assert longest_losing_streak(PNLS) == 2  # the trade at 0 ends the first streak


@pytest.mark.parametrize("pnls", [[], [0.0], [5.0, 1.0]])
def test_profit_factor_without_a_loss_is_undefined(pnls: list[float]) -> None:
    assert profit_factor(pnls) is None


def test_profit_factor_without_a_win_is_zero() -> None:
    assert profit_factor([-1.0, -2.0]) == 0.0


# -- daily returns ---------------------------------------------------------------------------------


def test_daily_returns_by_hand() -> None:
    # 1100 / 1000, 990 / 1100, 1039.5 / 990
    assert daily_returns(three_days()) == pytest.approx([0.1, -0.1, 0.05])


def test_midnight_at_start_and_end_is_not_one_more_day() -> None:
    result = three_days()
    ends = [(T0, 1000.0), *result.daily, (T0 + 3 * DAY_MS, 1045.0)]  # before the last close
    assert equity_series(replace(result, daily=ends)) == equity_series(result)
    assert len(daily_returns(result)) == 3


def test_part_of_a_day_at_the_ends_counts_as_a_day() -> None:
    result = replace(three_days(), start_ms=T0 + 20 * HOUR_MS, end_ms=T0 + 2 * DAY_MS + HOUR_MS)
    assert daily_returns(result) == pytest.approx([0.1, -0.1, 0.05])


@pytest.mark.parametrize("lost", [0.0, -5.0])
def test_equity_used_up_has_no_ratios(lost: float) -> None:
    result = run_result(daily=[(T0 + DAY_MS, lost), (T0 + 2 * DAY_MS, 10.0)])
    assert daily_returns(result) == []
    assert metrics(result)["sharpe_ratio"] is None


# -- metrics ---------------------------------------------------------------------------------------


def test_metrics_by_hand() -> None:
    account = Account(
        max_drawdown=0.12,
        peak_equity=1100.0,
        fees=7.5,
        funding=-1.25,
        cycles=12,
        exposed_cycles=3,
        collisions_opposite=1,
        collisions_owned=2,
        collisions_cap=3,
        collisions_correlated=4,
    )
    trades = [trade(pnl) for pnl in PNLS]
    trades[0].exit_time = T0 + 9 * HOUR_MS
    found = metrics(replace(three_days(), trades=trades, account=account))
    assert found == {
        "profit_factor": 3.0,
        "sharpe_ratio": pytest.approx(3.0593, abs=1e-4),
        "sortino_ratio": pytest.approx(5.5151, abs=1e-4),
        "max_drawdown_pct": pytest.approx(12.0),
        "win_rate": pytest.approx(100.0 / 3.0),
        "total_return_pct": pytest.approx(3.95),  # 39.5 / 1000
        "annual_return_pct": None,  # three days
        "expectancy_usdt": pytest.approx(200.0 / 6.0),
        "best_trade_usdt": 200.0,
        "worst_trade_usdt": -50.0,
        "longest_losing_streak": 2,
        "avg_trade_hours": 4.0,  # (9 + 5 x 3) / 6
        "fees_usdt": 7.5,
        "funding_usdt": -1.25,
        "exposure_pct": 25.0,
        "collisions": 10,
        "collisions_unresolved": 0,
        "deposits": 1000.0,
        "final_equity": 1039.5,
    }


def test_drawdown_counts_the_final_equity() -> None:
    account = Account(max_drawdown=0.05, peak_equity=1250.0)
    result = run_result(account=account, final_equity=1000.0)
    assert metrics(result)["max_drawdown_pct"] == pytest.approx(20.0)  # 250 / 1250


@pytest.mark.parametrize(
    ("days", "final", "expected"),
    [
        (365, 1100.0, 10.0),
        (730, 1210.0, 10.0),  # 1.21 ** (1 / 2)
        (90, 1000.0, 0.0),
        (89, 1100.0, None),
        (365, 0.0, None),
        (365, -1.0, None),
    ],
)
def test_annual_return(days: int, final: float, expected: float | None) -> None:
    result = run_result(end_ms=T0 + days * DAY_MS, final_equity=final)
    assert metrics(result)["annual_return_pct"] == pytest.approx(expected)


def test_run_without_trades_and_cycles_leaves_averages_undefined() -> None:
    found = metrics(run_result())
    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {
        "profit_factor", "sharpe_ratio", "sortino_ratio", "win_rate", "annual_return_pct",
        "expectancy_usdt", "best_trade_usdt", "worst_trade_usdt", "avg_trade_hours",
        "exposure_pct",
    }  # fmt: skip
    assert metrics(run_result(deposits=0.0))["total_return_pct"] is None


# -- result object ---------------------------------------------------------------------------------


def test_result_object_has_the_keys_of_the_contract() -> None:
    config = {"strategies": ["trend"]}
    found = result_object(run_result([trade(1.0)], halted_at=T0 + HOUR_MS), config)
    assert found.keys() >= CONTRACT_KEYS
    assert found["metrics"].keys() >= CONTRACT_METRICS
    assert found["trades"] == 1
    assert found["halted_at"] == "2024-01-01T01:00:00Z"
    assert (found["start"], found["end"]) == ("2024-01-01T00:00:00Z", "2024-01-04T00:00:00Z")
    assert (found["timeframe"], found["symbols"]) == ("1h", [BTC, ETH])
    assert found["config"] == config
    assert result_object(run_result(), {})["halted_at"] is None


def test_groups_by_hand() -> None:
    trades = [
        trade(10.0, symbol=1, strategy=MOMENTUM, fees=1.0, funding=0.5),
        trade(-4.0, symbol=1, strategy=TREND, fees=2.0, funding=-0.25),
        trade(-1.0, symbol=1, strategy=MOMENTUM, fees=3.0),
    ]
    found = result_object(run_result(trades), {})
    assert list(found["per_strategy"]) == ["trend", "momentum"]
    assert found["per_strategy"]["momentum"] == {
        "trades": 2, "win_rate": 50.0, "pnl": 9.0, "profit_factor": 10.0, "fees": 4.0,
        "funding": 0.5,
    }  # fmt: skip
    assert found["per_symbol"][BTC] == {
        "trades": 0, "win_rate": None, "pnl": 0.0, "profit_factor": None, "fees": 0.0,
        "funding": 0.0,
    }  # fmt: skip
    assert found["per_symbol"][ETH]["profit_factor"] == 2.0  # 10 / (4 + 1)


@pytest.mark.parametrize("table", ["per_strategy", "per_symbol"])
@pytest.mark.parametrize("column", ["trades", "pnl", "fees", "funding"])
def test_groups_sum_to_the_whole(table: str, column: str) -> None:
    trades = random_trades(1, 500)
    rows = result_object(run_result(trades), {})[table].values()
    whole = fsum(1 if column == "trades" else getattr(t, column) for t in trades)
    assert isclose(fsum(row[column] for row in rows), whole, rel_tol=1e-12)


def test_equal_trades_give_equal_text() -> None:
    one, two = (result_object(run_result(random_trades(2, 300)), {}) for _ in range(2))
    assert json.dumps(one) == json.dumps(two)


def test_result_object_is_strict_json() -> None:
    account = Account(deposits=1000.0, peak_equity=inf, fees=nan)
    result = run_result([trade(nan)], account=account, final_equity=nan, elapsed_s=inf)
    found = result_object(result, {"limit": inf, "deep": [{"value": nan}]})
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    assert found["final_equity"] is found["elapsed_s"] is found["metrics"]["fees_usdt"] is None
    assert found["config"] == {"limit": None, "deep": [{"value": None}]}


@pytest.mark.parametrize(
    ("sources", "warnings"),
    [
        ({}, []),
        ({"spec_source": "builtin"}, []),
        (
            {"funding_source": "assumed", "spec_source": "assumed"},
            [
                "funding rates are assumed (0.01 % per 8 h); add funding files to the data",
                "contract specifications are assumed; add contracts.json to the data",
            ],
        ),
        (
            {"funding_source": "mixed", "spec_source": "mixed"},
            [
                "funding rates are partly assumed (0.01 % per 8 h); add funding files to the data",
                "contract specifications may be partly assumed; add contracts.json to the data",
            ],
        ),
        (
            {"account": Account(collisions_unresolved=2)},
            ["unresolved collisions: expected 0, was 2"],
        ),
    ],
)
def test_warnings(sources: dict[str, Any], warnings: list[str]) -> None:
    assert result_object(run_result(**sources), {})["warnings"] == warnings


@given(st.integers(min_value=0, max_value=7_258_118_400_000))  # 1970 to 2200
def test_iso_time_agrees_with_the_calendar(ms: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    text = iso_time(ms)
    assert datetime.fromisoformat(text) == expected
    assert len(text) == (24 if ms % 1000 else 20)


@pytest.mark.parametrize(
    "day", ["1970-01-01", "2000-02-29", "2023-12-31", "2024-02-29", "2024-03-01", "2100-03-01"]
)
def test_iso_time_on_days_that_calendars_get_wrong(day: str) -> None:
    text = f"{day}T23:59:59Z"
    assert iso_time(int(datetime.fromisoformat(text).timestamp()) * 1000) == text
