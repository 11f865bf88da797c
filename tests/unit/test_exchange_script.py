"""Scripts laid over a market: what the file may say, and what prices do."""

import asyncio
from itertools import islice
from pathlib import Path

import pytest

from bot.core.errors import InputError
from bot.core.market import Bar
from ops.exchange.script import follow, read_script, scripted
from ops.exchange.source import synthetic
from ops.exchange.wire import Wire
from tests.support.wire_desk import options, source

BTC, ETH = "BTC-USDT-PERP", "ETH-USDT-PERP"
HISTORY = 3


def written(folder: Path, text: str) -> Path:
    path = folder / "script.csv"
    path.write_text(text, encoding="utf-8")
    return path


def closes(bars: list[Bar | None]) -> list[float | None]:
    return [None if bar is None else bar.close for bar in bars]


def test_prices_follow_the_script_and_then_the_market_from_there(tmp_path: Path) -> None:
    market = source([100.0, 100.0, (100.0, 110.0), 120.0, 130.0, 140.0, (140.0, 154.0), 140.0])
    laid = scripted(market, written(tmp_path, f"{BTC}\n-50\n20\n\n"), HISTORY)
    assert laid.label == "test, 2 bars scripted"
    bars = [row.bars[0] for row in laid.rows()]
    assert closes(bars) == [100.0, 100.0, 110.0, 55.0, 66.0, 71.1, 78.2, 71.1]
    assert bars[3] == Bar(110.0, 110.0, 55.0, 55.0, 26.0)
    assert bars[4] == Bar(55.0, 66.0, 55.0, 66.0, 26.0)
    assert [row.bars for row in laid.rows()] == [(bar,) for bar in bars]  # as often as one likes


def test_an_empty_field_leaves_the_bar_to_the_market(tmp_path: Path) -> None:
    market = source([100.0] * 6, [50.0, 50.0, 50.0, None, 60.0, 60.0])
    moves = read_script(written(tmp_path, f"{ETH}, {BTC}\n10,\n,10\n-10,\n"), (BTC, ETH))
    assert moves == [(None, 1.1), (1.1, None), (None, 0.9)]
    rows = list(follow(market.rows(), moves, HISTORY, market.specs()))
    assert closes([row.bars[0] for row in rows]) == [100.0, 100.0, 100.0, 100.0, 110.0, 110.0]
    assert closes([row.bars[1] for row in rows]) == [50.0, 50.0, 50.0, None, 60.0, 54.0]


def test_the_embedded_market_is_its_own_before_the_script(tmp_path: Path) -> None:
    plain = synthetic((BTC, ETH), 60_000, 1)
    laid = scripted(plain, written(tmp_path, f"{ETH}\n-30\n"), 500)
    before, after = list(islice(plain.rows(), 505)), list(islice(laid.rows(), 505))
    assert after[:500] == before[:500]
    assert [row.bars[0] for row in after] == [row.bars[0] for row in before]
    first, last = after[499].bars[1], after[500].bars[1]
    assert first is not None
    assert last is not None
    assert last.close / first.close == pytest.approx(0.7, abs=1e-5)


def test_the_exchange_trades_at_scripted_prices(tmp_path: Path) -> None:
    laid = scripted(source([100.0] * 8), written(tmp_path, f"{BTC}\n-10\n"), 5)
    wire = Wire(options(laid), lambda _: None)
    asyncio.run(wire.advance(wire.now() + 60_000))
    assert wire.market.exchange.last[0] == 90.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a line of symbols, then one line for each bar"),
        (f"{BTC}\n", "expected a line of symbols, then one line for each bar"),
        ("SOL-USDT-PERP\n1\n", f"expected each of {BTC}, {ETH} at most once, was SOL-USDT-PERP"),
        (f"{BTC},{BTC}\n1,1\n", f"at most once, was {BTC},{BTC}"),
        ("price\n1\n", "expected a name like BTC-USDT-PERP"),
        (f"{BTC},{ETH}\n1,1\n1\n", "bar 2: expected 2 fields, was 1"),
        (f"{BTC}\n1\nfive\n", "bar 2: expected -99 to 1000 percent, was 'five'"),
        (f"{BTC}\n-100\n", "bar 1: expected -99 to 1000 percent, was '-100'"),
        (f"{BTC}\nnan\n", "bar 1: expected -99 to 1000 percent, was 'nan'"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        read_script(written(tmp_path, text), (BTC, ETH))


def test_a_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a script, was: "):
        read_script(tmp_path / "none.csv", (BTC,))
