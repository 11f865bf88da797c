"""The HTML report: self-contained, escaped, bounded, with every extreme and the right numbers."""

import random
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.core.errors import InputError
from bot.core.kernel.records import Account
from bot.core.market import DAY_MS, HOUR_MS, MINUTE_MS, Candles, MarketData
from bot.core.summary import RunResult
from ops.research import report_html
from ops.research.report_data import (
    MAX_CANDLES,
    MAX_TRADES,
    drawdowns,
    join_candles,
    monthly_returns,
    thin,
)
from ops.research.report_html import render_report, write_report
from tests.support.html_page import Page
from tests.support.runs import BTC, ETH, T0, candles, market, run_result, trade

NASTY = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"


def flat_market(timeframe_ms: int, bars: int, symbols: Sequence[str], seed: int = 1) -> MarketData:
    """Return `bars` candles of noise for each symbol."""
    rng = random.Random(seed)
    closes = array("d", (rng.uniform(90.0, 110.0) for _ in range(bars)))
    times = array("q", range(T0, T0 + bars * timeframe_ms, timeframe_ms))
    series = (Candles(symbol, times, closes, closes, closes, closes, closes) for symbol in symbols)
    return market(timeframe_ms, *series)


def long_run(timeframe_ms: int, bars: int, trades: int, symbols: Sequence[str]) -> tuple[
    RunResult, list[tuple[int, float]], MarketData
]:  # fmt: skip
    """Return a run with a noisy equity and many trades."""
    rng = random.Random(7)
    curve = [(T0 + i * timeframe_ms, rng.uniform(900.0, 1100.0)) for i in range(1, bars + 1)]
    result = run_result(
        [
            trade(rng.uniform(-9.0, 9.0), symbol=i % len(symbols), entry_price=rng.uniform(1, 9e4))
            for i in range(trades)
        ],
        end_ms=T0 + bars * timeframe_ms,
        timeframe_ms=timeframe_ms,
        symbols=tuple(symbols),
        daily=[point for point in curve if point[0] % DAY_MS == 0],
    )
    return result, curve, flat_market(timeframe_ms, bars, symbols)


def small_page(title: str = "A run", **fields: Any) -> str:
    result = run_result([trade(5.0), trade(-2.0, symbol=1)], **fields)
    curve = [(T0 + HOUR_MS, 1010.0), (T0 + 2 * HOUR_MS, 990.0)]
    return render_report(result, curve, flat_market(HOUR_MS, 72, result.symbols), title)


# -- the page --------------------------------------------------------------------------------------


def test_page_is_well_formed() -> None:
    page = Page(small_page())
    assert page.open == []
    identities = [value for _, name, value in page.attributes if name == "id"]
    assert len(identities) == len(set(identities))


def test_page_loads_nothing() -> None:
    text = small_page()
    page = Page(text)
    assert not re.search(r"https?:|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket", text)
    references = [a for a in page.attributes if a[1] in ("src", "href", "srcset", "action")]
    assert references == [("link", "href", "data:,")]
    [policy] = [value for _, name, value in page.attributes if value.startswith("default-src")]
    assert policy.startswith("default-src 'none';")


def test_script_finds_its_elements() -> None:
    text = small_page()
    script = (Path(report_html.__file__).parent / "report.js").read_text(encoding="utf-8")
    wanted = set(re.findall(r'getElementById\("(\w+)"\)', script)) | {"equity", "price", "trades"}
    assert wanted <= {value for _, name, value in Page(text).attributes if name == "id"}
    assert wanted >= {"data", "reset", "symbol"}


def test_texts_from_outside_are_escaped() -> None:
    page = Page(small_page(NASTY, symbols=(NASTY, ETH), funding_source=NASTY, spec_source=NASTY))
    harmless = Page(small_page())
    assert page.texts["title"] == page.texts["h1"] == [NASTY]
    assert page.texts["option"] == [NASTY, ETH]
    assert page.tags.count("script") == harmless.tags.count("script") == 2
    assert "img" not in page.tags
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert not set("<>&") & set(page.texts["script"][0])
    assert [symbol["name"] for symbol in page.data()["symbols"]] == [NASTY, ETH]


def test_figures_of_the_page() -> None:
    account = Account(max_drawdown=0.125, peak_equity=1000.0, fees=7.5, funding=-1.25)
    page = Page(small_page(account=account, final_equity=1250.0))
    values = dict(zip(page.texts["dt"], page.texts["dd"][::2], strict=True))
    assert values["Total return"] == "+25.00 %"
    assert values["Maximum drawdown"] == "12.50 %"
    assert values["Profit factor"] == "2.50"  # 5 / 2
    assert values["Win rate"] == "50.0 %"
    assert values["Fees"] == "7.50"
    assert values["Per year"] == "\u2013"  # three days
    assert "1,000.00 \u2192 1,250.00 USDT" in page.texts["small"]
    assert "\u22121.25 USDT funding" in page.texts["small"]


def test_halt_and_warnings_are_told() -> None:
    calm = small_page()
    assert 'class="notice"' not in calm
    text = small_page(halted_at=T0 + HOUR_MS, funding_source="assumed")
    assert text.count('class="notice"') == 2
    assert "Halted at 2024-01-01T01:00:00Z by the kill switch" in text
    assert "funding rates are assumed" in text
    assert Page(text).data()["halted"] == T0 // 1000 + 3600


def test_run_without_trades_has_a_page() -> None:
    result = run_result()
    text = render_report(result, [], flat_market(HOUR_MS, 72, (BTC, ETH)), "Nothing")
    page = Page(text)
    assert page.data()["trades"] == []
    # deposits at the start, final equity at the end
    assert page.data()["equity"] == {"t": [T0 // 1000, T0 // 1000 + 3 * 86400], "v": [1000.0] * 2}


def test_undefined_equity_still_gives_a_page() -> None:
    text = render_report(
        run_result(final_equity=float("nan")), [], flat_market(HOUR_MS, 72, (BTC, ETH)), "NaN"
    )
    assert Page(text).data()["equity"]["v"] == [1000.0, None]


def test_last_trades_are_listed_with_a_note() -> None:
    trades = [trade(1.0, exit_price=float(k)) for k in range(MAX_TRADES + 5)]
    text = render_report(run_result(trades), [], flat_market(HOUR_MS, 9, (BTC, ETH)), "Many")
    data = Page(text).data()
    prices = [row[data["fields"].index("exitPrice")] for row in data["trades"]]
    assert prices == [float(k) for k in range(5, MAX_TRADES + 5)]
    assert "the last 2,000 of 2,005" in text


def test_year_of_five_symbols_is_small() -> None:
    symbols = [f"C{k}-USDT-PERP" for k in range(5)]
    page = render_report(*long_run(HOUR_MS, 8784, 2500, symbols), "A year")
    assert len(page.encode()) < 1_500_000


def test_size_does_not_grow_with_the_bars() -> None:
    sizes = [
        len(render_report(*long_run(MINUTE_MS, bars, 100, [BTC]), "Long").encode())
        for bars in (30_000, 240_000)
    ]
    assert sizes[1] < 1.1 * sizes[0] < 1_000_000


# -- the file --------------------------------------------------------------------------------------


def test_report_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(path, run_result(), [], flat_market(HOUR_MS, 72, (BTC, ETH)), "New")
    assert Page(path.read_text(encoding="utf-8")).texts["title"] == ["New"]
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "report.html"
    with pytest.raises(InputError, match="expected an existing folder"):
        write_report(path, run_result(), [], flat_market(HOUR_MS, 72, (BTC, ETH)), "New")


# -- the numbers behind the charts -----------------------------------------------------------------


def test_thin_keeps_ends_and_extremes_of_every_part() -> None:
    rng = random.Random(3)
    points = [(i, rng.gauss(0.0, 1.0)) for i in range(10_007)]
    points[4711], points[8000] = (4711, 99.0), (8000, -99.0)  # one point each
    kept = thin(points, 100)
    assert len(kept) <= 400
    assert kept == sorted(set(kept))
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    size = -(-len(points) // 100)
    for begin in range(0, len(points), size):
        part = [value for _, value in points[begin : begin + size]]
        shown = [value for i, value in kept if begin <= i < begin + size]
        assert (min(shown), max(shown)) == (min(part), max(part))
        assert (shown[0], shown[-1]) == (part[0], part[-1])


def test_thin_leaves_short_curves_alone() -> None:
    points = [(i, float(i % 3)) for i in range(40)]
    assert thin(points, 10) == points
    assert len(thin(points, 9)) <= 36


def test_drawdowns_by_hand() -> None:
    curve = [(0, 100.0), (1, 80.0), (2, 125.0), (3, 100.0), (4, 125.0)]
    # peaks 100, 100, 125, 125, 125
    assert drawdowns(curve) == [
        (0, 0.0),
        (1, pytest.approx(-20.0)),
        (2, 0.0),
        (3, pytest.approx(-20.0)),
        (4, 0.0),
    ]


def test_extremes_of_the_equity_survive_thinning() -> None:
    result, curve, prices = long_run(MINUTE_MS, 20_000, 1, [BTC])
    shown = Page(render_report(result, curve, prices, "Noise")).data()["equity"]["v"]
    values = [value for _, value in curve]
    assert (min(shown), max(shown)) == (round(min(values), 2), round(max(values), 2))


def test_deepest_drawdown_survives_thinning() -> None:
    # 500, 2000 and 900 are drawn in one part. 900 is 55 % below the peak, and not the first,
    # lowest, highest or last of the part: thinned before it was measured, it would be lost.
    values = [1000.0] * 7001 + [500.0, 2000.0, 900.0] + [2000.0] * 12_996
    curve = [(T0 + i * MINUTE_MS, value) for i, value in enumerate(values, start=1)]
    result = run_result(end_ms=T0 + 20_000 * MINUTE_MS, final_equity=2000.0, symbols=(BTC,))
    data = Page(render_report(result, curve, flat_market(HOUR_MS, 9, [BTC]), "Deep")).data()
    assert min(data["drawdown"]["v"]) == -55.0
    assert 900.0 not in data["equity"]["v"]


def test_joined_candles_by_hand() -> None:
    hour = HOUR_MS
    series = candles(
        BTC,
        [
            (T0 - hour, 1.0, 999.0, 0.1, 1.0),  # before the run
            (T0, 10.0, 12.0, 9.0, 11.0),
            (T0 + hour, 11.0, 15.0, 10.5, 14.0),
            # holes at 2 and 3
            (T0 + 4 * hour, 14.0, 14.5, 8.0, 8.5),
            (T0 + 5 * hour, 8.5, 9.0, 8.25, 8.75),
            (T0 + 6 * hour, 8.75, 9.5, 8.5, 9.25),
            (T0 + 7 * hour, 1.0, 999.0, 0.1, 1.0),  # after it
        ],
    )
    # seven bars in at most four candles: two bars each; number 1 is the hole
    assert join_candles(series, T0, T0 + 7 * hour, hour, 4) == {
        "name": BTC,
        "start": T0 // 1000,
        "step": 7200,
        "n": [0, 2, 3],
        "o": [10.0, 14.0, 8.75],
        "h": [15.0, 14.5, 9.5],
        "l": [9.0, 8.0, 8.5],
        "c": [14.0, 8.75, 9.25],
    }


@pytest.mark.parametrize("bars", [1, MAX_CANDLES, MAX_CANDLES + 1, 50_000])
def test_joined_candles_keep_extremes_within_the_limit(bars: int) -> None:
    [series] = flat_market(HOUR_MS, bars, [BTC], seed=bars).candles
    joined = join_candles(series, T0, T0 + bars * HOUR_MS, HOUR_MS, MAX_CANDLES)
    assert len(joined["n"]) == -(-bars // -(-bars // MAX_CANDLES)) <= MAX_CANDLES
    assert max(joined["h"]) == float(f"{max(series.high):.7g}")
    assert min(joined["l"]) == float(f"{min(series.low):.7g}")
    assert joined["c"][-1] == float(f"{series.close[-1]:.7g}")


def test_monthly_returns_by_hand() -> None:
    day = DAY_MS
    start = T0 + 14 * day  # 15 January; February 2024 has 29 days
    result = run_result(
        start_ms=start,
        end_ms=T0 + 66 * day,  # 7 March
        daily=[
            (T0 + 30 * day, 1050.0),  # 31 January 00:00
            (T0 + 31 * day, 1100.0),  # 1 February 00:00 closes January
            (T0 + 32 * day, 1500.0),
            (T0 + 60 * day, 990.0),  # 1 March 00:00 closes February
        ],
        final_equity=1089.0,
    )
    # 1100 / 1000, 990 / 1100, 1089 / 990
    assert monthly_returns(result) == {
        (2024, 1): pytest.approx(10.0),
        (2024, 2): pytest.approx(-10.0),
        (2024, 3): pytest.approx(10.0),
    }


def test_month_table_has_a_row_for_each_year() -> None:
    day = DAY_MS
    result = run_result(
        end_ms=T0 + 397 * day,  # 1 February 2025, 00:00
        daily=[(T0 + 31 * day, 1100.0), (T0 + 366 * day, 1210.0)],
        final_equity=1089.0,
    )
    text = render_report(result, [], flat_market(HOUR_MS, 9, (BTC, ETH)), "Two years")
    rows = re.findall(r'<tr><th scope="row">(20\d\d)</th>(.*?)</tr>', text)
    shown = {year: re.findall(r">([^<>]+)</td>", cells) for year, cells in rows}
    # January 1100 / 1000, December 1210 / 1100, the year both; 2025: 1089 / 1210
    assert shown == {
        "2024": ["+10.0", "+10.0", "+21.0"],
        "2025": ["\u221210.0", "\u221210.0"],
    }
