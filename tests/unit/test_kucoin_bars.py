"""Closed bars: decided once each, in time, never on an old one; what failed is shown later."""

import logging
from concurrent.futures import Future

import pytest

from bot.adapters.kucoin_bars import MOST_MISSED, STALE_MS, WARMUP_WAIT_MS, BarFeed, Bars
from bot.core.errors import UnreachableError
from bot.core.market import Bar
from bot.core.messages import Condition, Cycle, Event, History, Rewarm

MINUTE = 60_000
START = 1_704_067_200_000
WAIT = 5_000
WARMUP = 100


def bar(open_ms: int) -> Bar:
    price = 100.0 + (open_ms - START) / MINUTE
    return Bar(price, price, price, price, 1.0)


class Exchange:
    """Has a bar for every minute but the holes; answers at once, later, or not at all."""

    def __init__(self) -> None:
        self.holes: set[tuple[int, int]] = set()
        self.down: set[int] = set()
        self.slow: set[int] = set()
        self.waiting: list[tuple[Future[Bars], Bars]] = []
        self.asked: list[tuple[int, int, int]] = []
        self.newest_price = START

    def bars(self, symbol: int, from_ms: int, to_ms: int) -> Future[Bars]:
        self.asked.append((symbol, from_ms, to_ms))
        answer: Future[Bars] = Future()
        opens = range(from_ms, to_ms, MINUTE)
        found = [(ms, bar(ms)) for ms in opens if (symbol, ms) not in self.holes]
        if symbol in self.down:
            answer.set_exception(UnreachableError("down"))
        elif symbol in self.slow:
            self.waiting.append((answer, found))
        else:
            answer.set_result(found)
        return answer

    def name(self, symbol: int) -> str:
        return f"symbol {symbol}"

    def traded_ms(self, symbol: int) -> Future[int]:
        answer: Future[int] = Future()
        if symbol in self.down:
            answer.set_exception(UnreachableError("down"))
        else:
            answer.set_result(self.newest_price)
        return answer

    def answer(self) -> None:
        """Let every slow answer arrive."""
        for answer, found in self.waiting:
            answer.set_result(found)
        self.waiting.clear()


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def feed_at(
    exchange: Exchange, decided_ms: int = START, now: int = START + 3_000, *seen_ms: int
) -> BarFeed:
    return BarFeed(exchange, 2, MINUTE, WAIT, WARMUP, decided_ms, now, seen_ms)


def events(feed: BarFeed, now: int) -> list[Event]:
    """Return everything up to `now`; answers that come at once need two looks."""
    found: list[Event] = []
    for _ in range(3):
        while (event := feed.poll(now)) is not None:
            found.append(event)
    return found


def test_a_bar_is_not_asked_for_before_it_is_closed_for_sure(exchange: Exchange) -> None:
    feed = feed_at(exchange)
    assert events(feed, START + MINUTE + 1_999) == []
    assert exchange.asked == []
    assert events(feed, START + MINUTE + 2_000) == [
        Cycle(START + MINUTE, START + MINUTE + 2_000, (bar(START), bar(START)))
    ]
    assert feed.next_ms(START + MINUTE + 2_000) == START + 2 * MINUTE + 2_000


def test_a_bar_that_is_shown_late_is_decided_on(exchange: Exchange) -> None:
    """KuCoin may have a bar only some hundred milliseconds after it could be asked for."""
    exchange.holes |= {(0, START), (1, START)}
    feed = feed_at(exchange)
    assert events(feed, START + MINUTE + 2_000) == []
    exchange.holes.discard((0, START))
    assert events(feed, START + MINUTE + 2_499) == []
    assert events(feed, START + MINUTE + 2_500) == []
    exchange.holes.clear()
    now = START + MINUTE + 3_000
    assert events(feed, now) == [Cycle(START + MINUTE, now, (bar(START), bar(START)))]
    assert [symbol for symbol, _, _ in exchange.asked] == [0, 1, 0, 1, 1]


def test_a_bar_that_comes_after_its_deadline_is_shown_with_the_next(exchange: Exchange) -> None:
    exchange.holes |= {(0, START), (1, START)}
    feed = feed_at(exchange)
    exchange.newest_price = START + MINUTE
    events(feed, START + MINUTE + 2_000)
    now = START + MINUTE + WAIT
    assert events(feed, now) == [Cycle(START + MINUTE, now, (None, None))]
    exchange.holes.clear()
    now = START + 2 * MINUTE + 2_000
    assert events(feed, now) == [
        History(START + MINUTE, (bar(START), bar(START))),
        Cycle(START + 2 * MINUTE, now, (bar(START + MINUTE),) * 2),
    ]


def test_a_hole_is_waited_for_and_asked_for_once_more(exchange: Exchange) -> None:
    exchange.holes.add((1, START))
    feed = feed_at(exchange)
    for ms in range(2_000, WAIT, 100):
        assert events(feed, START + MINUTE + ms) == []
    assert sum(symbol == 1 for symbol, _, _ in exchange.asked) == 6
    now = START + MINUTE + WAIT
    assert events(feed, now) == [Cycle(START + MINUTE, now, (bar(START), None))]
    for n in (2, 3):
        exchange.asked.clear()
        now = START + n * MINUTE + 2_000
        newest = bar(now - MINUTE - 2_000)
        assert events(feed, now) == [Cycle(START + n * MINUTE, now, (newest, newest))]
        begin = START if n == 2 else START + 2 * MINUTE
        assert (1, begin, START + n * MINUTE) in exchange.asked


def test_a_symbol_that_has_long_been_silent_holds_up_no_decision(exchange: Exchange) -> None:
    exchange.holes |= {(1, START + n * MINUTE) for n in range(MOST_MISSED + 3)}
    feed = feed_at(exchange)
    for n in range(1, MOST_MISSED + 2):
        assert events(feed, START + n * MINUTE + 2_000) == []
        assert len(events(feed, START + n * MINUTE + WAIT)) == 1
    for n in (MOST_MISSED + 2, MOST_MISSED + 3):
        now, newest = START + n * MINUTE + 2_000, bar(START + (n - 1) * MINUTE)
        assert events(feed, now) == [Cycle(START + n * MINUTE, now, (newest, None))]
    now = START + (MOST_MISSED + 4) * MINUTE + 2_000
    assert events(feed, now) == [Cycle(now - 2_000, now, (bar(now - 2_000 - MINUTE),) * 2)]


def test_a_slow_answer_is_waited_for_until_the_deadline(exchange: Exchange) -> None:
    exchange.slow.add(1)
    feed = feed_at(exchange)
    assert events(feed, START + MINUTE + 2_000) == []
    assert events(feed, START + MINUTE + WAIT - 1) == []
    now = START + MINUTE + WAIT
    assert events(feed, now) == [Cycle(START + MINUTE, now, (bar(START), None))]
    exchange.answer()
    exchange.slow.clear()
    now = START + 2 * MINUTE + 2_000
    assert events(feed, now) == [
        History(START + MINUTE, (None, bar(START))),
        Cycle(START + 2 * MINUTE, now, (bar(START + MINUTE),) * 2),
    ]


def test_a_question_that_failed_is_asked_again_but_not_faster_than_that(
    exchange: Exchange,
) -> None:
    exchange.down.add(0)
    feed = feed_at(exchange)
    for ms in range(2_000, 2_500, 100):
        assert events(feed, START + MINUTE + ms) == []
    assert sum(symbol == 0 for symbol, _, _ in exchange.asked) == 1
    exchange.down.clear()
    now = START + MINUTE + 2_600
    assert events(feed, now) == [Cycle(START + MINUTE, now, (bar(START), bar(START)))]
    assert feed.failures == 1


def test_what_an_outage_hid_is_shown_when_it_is_over(exchange: Exchange) -> None:
    exchange.down |= {0, 1}
    feed = feed_at(exchange)
    for n in range(1, 6):
        at = START + n * MINUTE + WAIT
        assert events(feed, at) == []
        assert events(feed, at + WAIT) == [Cycle(START + n * MINUTE, at + WAIT, (None, None))]
    exchange.down.clear()
    now = START + 6 * MINUTE + 2_000
    *older, last = events(feed, now)
    assert older == [
        History(START + n * MINUTE, (bar(START + (n - 1) * MINUTE),) * 2) for n in range(1, 6)
    ]
    assert last == Cycle(START + 6 * MINUTE, now, (bar(START + 5 * MINUTE),) * 2)


def test_too_many_missed_bars_are_a_new_beginning(exchange: Exchange) -> None:
    feed = feed_at(exchange)
    now = START + (MOST_MISSED + 2) * MINUTE + 2_000
    rewarm, *shown, last = events(feed, now)
    assert rewarm == Rewarm(now, MOST_MISSED + 1)
    assert len(shown) == WARMUP
    assert all(isinstance(event, History) for event in shown)
    assert isinstance(last, Cycle)


def test_a_new_beginning_that_does_not_come_holds_no_cycle_up(exchange: Exchange) -> None:
    """Else a loop with positions would look as if it hung, and be killed again and again."""
    exchange.down |= {0, 1}
    feed = feed_at(exchange)
    told: list[Event] = []
    last = MOST_MISSED + 10
    for n in range(1, last):
        told += events(feed, START + n * MINUTE + 2_000)
        told += events(feed, START + n * MINUTE + WAIT + 2_000)
        told += events(feed, START + n * MINUTE + 20_000)
    assert all(isinstance(event, Cycle) for event in told)
    assert [event.now_ms for event in told] == [START + n * MINUTE for n in range(1, last)]
    exchange.down.clear()
    now = START + last * MINUTE + 2_000
    rewarm, *shown, cycle = events(feed, now)
    assert rewarm == Rewarm(now, last - 1)
    assert [type(event) for event in shown] == [History] * WARMUP
    assert cycle == Cycle(START + last * MINUTE, now, (bar(START + (last - 1) * MINUTE),) * 2)


def test_a_symbol_that_does_not_answer_stops_no_other_one(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "radbot")
    exchange.down.add(1)
    feed = feed_at(exchange)
    last = MOST_MISSED + 60
    for n in range(1, last):
        told = events(feed, START + n * MINUTE + 2_000)
        told += events(feed, START + n * MINUTE + WAIT)
        now, newest = told[0].now_ms, bar(START + (n - 1) * MINUTE)
        waited = 2_000 if n > MOST_MISSED + 1 else WAIT
        assert told == [Cycle(now, START + n * MINUTE + waited, (newest, None))]
    assert len(caplog.records) == 1
    exchange.down.clear()
    now = START + last * MINUTE + 2_000
    rewarm, *shown, cycle = events(feed, now)
    assert rewarm == Rewarm(now, last - 1, (1,))
    assert shown == [
        History(start, (None, bar(start - MINUTE)))
        for start in range(START + (last - WARMUP) * MINUTE, START + last * MINUTE, MINUTE)
    ]
    assert cycle == Cycle(START + last * MINUTE, now, (bar(START + (last - 1) * MINUTE),) * 2)
    exchange.down.add(1)
    events(feed, START + (last + 1) * MINUTE + 2_000)
    events(feed, START + (last + 1) * MINUTE + WAIT)
    assert len(caplog.records) == 2


def test_a_silent_symbol_that_answers_late_is_decided_on_with_the_next_bar(
    exchange: Exchange,
) -> None:
    exchange.down.add(1)
    feed = feed_at(exchange)
    last = MOST_MISSED + 10
    for n in range(1, last):
        events(feed, START + n * MINUTE + 2_000)
        events(feed, START + n * MINUTE + WAIT)
    exchange.down.clear()
    exchange.slow.add(1)
    now = START + last * MINUTE + 2_000
    assert [type(event) for event in events(feed, now)] == [Cycle]
    exchange.answer()
    now = START + (last + 1) * MINUTE + 2_000
    assert events(feed, now) == []  # waited for again
    exchange.answer()
    rewarm, *shown, cycle = events(feed, now)
    assert rewarm == Rewarm(now, last - 1, (1,))
    assert shown[-1] == History(now - 2_000 - MINUTE, (None, bar(now - 2_000 - 2 * MINUTE)))
    assert cycle == Cycle(now - 2_000, now, (bar(now - 2_000 - MINUTE),) * 2)


def test_a_first_warm_up_goes_on_without_a_symbol_that_does_not_answer(
    exchange: Exchange,
) -> None:
    exchange.down.add(1)
    feed = feed_at(exchange, 0, START + 10_000)
    for ms in range(10_000, 10_000 + WARMUP_WAIT_MS, 1_000):
        assert events(feed, START + ms) == []
    shown = events(feed, START + 10_000 + WARMUP_WAIT_MS)
    assert [type(event) for event in shown] == [History] * WARMUP
    assert shown[-1] == History(START, (bar(START - MINUTE), None))
    assert events(feed, START + MINUTE + 2_000) == []
    now = START + MINUTE + WAIT
    assert events(feed, now) == [Cycle(START + MINUTE, now, (bar(START), None))]
    exchange.down.clear()
    now = START + 2 * MINUTE + 2_000
    rewarm, *shown, cycle = events(feed, now)
    assert rewarm == Rewarm(now, WARMUP + 1, (1,))
    assert len(shown) == WARMUP
    assert cycle == Cycle(START + 2 * MINUTE, now, (bar(START + MINUTE),) * 2)


def test_what_a_decision_had_to_do_without_is_shown_after_a_restart(exchange: Exchange) -> None:
    decided_ms, now = START + 5 * MINUTE, START + 6 * MINUTE + 2_000
    *shown, last = events(feed_at(exchange, decided_ms, now, START + 3 * MINUTE, decided_ms), now)
    assert shown == [
        History(START + 4 * MINUTE, (bar(START + 3 * MINUTE), None)),
        History(START + 5 * MINUTE, (bar(START + 4 * MINUTE), None)),
    ]
    assert last == Cycle(START + 6 * MINUTE, now, (bar(START + 5 * MINUTE),) * 2)


def test_a_restart_in_a_new_beginning_begins_anew(exchange: Exchange) -> None:
    decided_ms, now = START + 5 * MINUTE, START + 6 * MINUTE + 2_000
    rewarm, *shown = events(feed_at(exchange, decided_ms, now, 0, 0), now)
    assert isinstance(rewarm, Rewarm)
    assert len(shown) == WARMUP + 1


def test_48_missed_bars_are_simply_shown(exchange: Exchange) -> None:
    now = START + (MOST_MISSED + 1) * MINUTE + 2_000
    *shown, last = events(feed_at(exchange), now)
    assert [type(event) for event in shown] == [History] * MOST_MISSED
    assert isinstance(last, Cycle)


def test_a_bot_that_never_decided_warms_up_and_decides_with_the_next_bar(
    exchange: Exchange,
) -> None:
    now = START + 30_500  # the middle of a bar: nothing is decided on the one before
    feed = feed_at(exchange, 0, now)
    shown = events(feed, now)
    assert [type(event) for event in shown] == [History] * WARMUP
    assert shown[-1].now_ms == START
    now = START + MINUTE + 2_000
    assert events(feed, now) == [Cycle(START + MINUTE, now, (bar(START), bar(START)))]


def test_a_warm_up_is_waited_for(exchange: Exchange) -> None:
    exchange.slow |= {0, 1}
    feed = feed_at(exchange, 0, START + 2_000)
    assert events(feed, START + 2_000) == []
    assert events(feed, START + 30_000) == []
    exchange.answer()
    assert len(events(feed, START + 30_000)) == WARMUP  # 99 shown, and one to decide on


def test_a_first_warm_up_of_which_nothing_comes_holds_no_cycle_up(exchange: Exchange) -> None:
    exchange.down |= {0, 1}
    feed = feed_at(exchange, 0, START + 2_000)
    told: list[Event] = []
    for ms in range(2_000, 3 * MINUTE, 1_000):
        told += events(feed, START + ms)
    assert [(type(event), event.now_ms) for event in told] == [
        (Cycle, START + MINUTE),
        (Cycle, START + 2 * MINUTE),
    ]


def test_a_loop_that_came_late_does_not_decide_on_the_past(exchange: Exchange) -> None:
    feed = feed_at(exchange)
    assert events(feed, START + MINUTE + 31_000) == [History(START + MINUTE, (bar(START),) * 2)]


def test_a_market_without_prices_is_stale_until_a_bar_comes(exchange: Exchange) -> None:
    feed = feed_at(exchange)
    exchange.holes |= {(k, START + n * MINUTE) for k in (0, 1) for n in range(4)}
    told: list[Event] = []
    for n in range(1, 6):
        told += events(feed, START + n * MINUTE + 2_000)
        told += events(feed, START + n * MINUTE + WAIT)
    conditions = [event for event in told if isinstance(event, Condition)]
    assert [condition.active for condition in conditions] == [True, False]
    assert conditions[0].now_ms - START > STALE_MS


def test_missing_candles_with_fresh_prices_are_not_stale(exchange: Exchange) -> None:
    feed = feed_at(exchange)
    exchange.holes |= {(k, START + n * MINUTE) for k in (0, 1) for n in range(4)}
    for n in range(1, 5):
        exchange.newest_price = START + n * MINUTE
        told = events(feed, START + n * MINUTE + 2_000) + events(feed, START + n * MINUTE + WAIT)
        assert [type(event) for event in told] == [Cycle]
