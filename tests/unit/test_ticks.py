"""The way the price took inside a bar, and the mark beside it."""

from hypothesis import given
from hypothesis import strategies as st

from bot.core.market import Bar, Row
from bot.sim.ticks import QuotePath, bar_path
from tests.support.exchange_cases import (
    COIN,
    flat_bar,
    row,
)
from tests.support.worlds import HOUR, START


def test_the_quotes_of_a_bar_by_hand() -> None:
    path = QuotePath([COIN], HOUR, steps=2)
    quotes = path.quotes(row(Bar(100.0, 102.0, 98.0, 101.0, 1.0)))
    assert [q.last for q in quotes] == [100.0, 99.0, 98.0, 100.0, 102.0, 101.5, 101.0]
    assert [q.ms - START for q in quotes] == [1, *(HOUR * i // 6 for i in range(1, 7))]
    # Half of the way to the last price with each quote.
    assert [q.mark for q in quotes] == [100.0, 99.5, 98.8, 99.4, 100.7, 101.1, 101.0]


def test_a_falling_bar_sees_its_high_first() -> None:
    assert bar_path(Bar(100.0, 102.0, 98.0, 99.0, 1.0), COIN, 1) == [100.0, 102.0, 98.0, 99.0]
    assert bar_path(Bar(100.0, 102.0, 98.0, 100.0, 1.0), COIN, 1) == [100.0, 98.0, 102.0, 100.0]


def test_a_missing_bar_has_no_quotes_and_leaves_the_mark() -> None:
    path = QuotePath([COIN, COIN], HOUR, steps=1)
    assert {q.symbol for q in path.quotes(row(flat_bar(100.0), None))} == {0}
    later = path.quotes(Row(START + HOUR, (Bar(100.0, 110.0, 100.0, 110.0, 1.0), None), ()))
    assert later[-2].mark < 110.0


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    prices = sorted(draw(st.lists(st.integers(10, 3_000), min_size=4, max_size=4)))
    open_, close = draw(st.permutations(prices[1:3]))
    return Bar(open_ / 10, prices[3] / 10, prices[0] / 10, close / 10, 1.0)


@given(st.lists(bars(), min_size=1, max_size=4), st.integers(1, 9))
def test_quotes_keep_to_their_bars(found: list[Bar], steps: int) -> None:
    path = QuotePath([COIN], HOUR, steps)
    for i, bar in enumerate(found):
        opened = START + i * HOUR
        quotes = path.quotes(Row(opened, (bar,), ()))
        lasts = [quote.last for quote in quotes]
        assert (lasts[0], max(lasts), min(lasts), lasts[-1]) == bar[:4]
        assert (quotes[0].ms, quotes[-1].ms) == (opened + 1, opened + HOUR)
        assert sorted({quote.ms for quote in quotes}) == [quote.ms for quote in quotes]
        for quote in quotes:
            assert bar.low <= quote.mark <= bar.high
            assert quote.last == round(quote.last, 1)
            assert quote.mark == round(quote.mark, 1)
