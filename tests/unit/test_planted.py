"""What only a planted mistake (scripts/mutants.py) showed to be untested."""

from dataclasses import replace

import pytest

from bot.core.kernel import codes
from bot.core.kernel.arbitration import grant
from bot.core.kernel.codes import (
    ACCEPTED,
    CUT,
    END,
    ENTRY,
    LIQUIDATION,
    LONG,
    MOMENTUM,
    NO_INTENT,
    NO_WISH,
    OPPOSITE,
    REVERSION,
    RUN,
    TAKER,
    TREND,
)
from bot.core.kernel.decide import decide
from bot.core.kernel.exposure import correlated_room
from bot.core.kernel.levels import bar_exit
from bot.core.kernel.limits import choose_tier, judge_limits
from bot.core.kernel.params import Params
from bot.core.kernel.records import CORRELATION_SLOTS, Intent, Position, World
from bot.core.kernel.replay import fill_entry
from bot.core.market import DAY_MS, HOUR_MS, Bar
from bot.core.messages import (
    Liquidated,
    OrderAccepted,
    OrderFilled,
    PlaceOrder,
)
from bot.shell.config import load_config
from bot.sim.exchange import BarExchange
from bot.sim.ledger import Ledger
from bot.sim.tick_exchange import TickExchange
from bot.sim.ticks import Quote
from ops.research import backtest
from tests.support.exchange_cases import (
    BALANCE,
    BUY,
    COIN,
    EXIT,
    PARAMS,
    STOP,
    TARGET,
    T,
    filled,
    flat_bar,
    row,
    tick_exchange,
)
from tests.support.runs import BTC, ETH, T0, candles, market
from tests.support.worlds import (
    HOUR,
    START,
    bars_of,
    make_spec,
    make_tape,
    make_world,
    market_of,
)


def test_only_the_owners_rule_closes_a_position() -> None:
    """Momentum holds. Trend, first in configuration order, would leave; reversion would too."""
    now = START + HOUR
    w = make_world(strategies=(TREND, MOMENTUM, REVERSION))
    w.positions[0] = Position(
        side=LONG, contracts=10.0, entry_price=100.0, strategy=1, stop_price=98.0
    )
    s = w.symbols[0]
    s.bar_time, s.mark, s.bars = now, 100.0, 200
    s.spread, s.score, s.zscore = -1.0, 0.5, 1.0
    decide(w, now, RUN)
    assert w.intents[0].kind == NO_INTENT
    s.spread, s.score, s.zscore = 1.0, -0.5, -1.0
    decide(w, now, RUN)
    assert w.intents[0].kind == codes.EXIT


def test_a_missing_bar_clears_the_wishes_of_its_own_symbol() -> None:
    """Three symbols, two strategies; the second symbol has no bar, the others wish nothing new."""
    now = START + HOUR
    w = make_world(3, strategies=(TREND, REVERSION))
    w.symbols[0].bar_time = w.symbols[2].bar_time = now
    w.wishes[:] = [1.0, 2.0, 0.0, 0.0, -2.0, 0.0]
    w.verdicts[:] = [NO_WISH, OPPOSITE, NO_WISH, NO_WISH, OPPOSITE, NO_WISH]
    decide(w, now, RUN)
    assert w.wishes == [0.0] * 6
    assert w.verdicts == [NO_WISH] * 6


def test_a_level_of_zero_is_not_there_for_a_short_either() -> None:
    assert bar_exit(-1, 0.0, 96.0, 109.0, make_spec(0.5), 100.0, 101.0, 99.0) == 0
    assert bar_exit(-1, 0.0, 96.0, 0.0, make_spec(0.5), 100.0, 150.0, 95.0) == codes.TARGET


@pytest.mark.parametrize(("side", "high", "low"), [(1, 101.0, 91.0), (-1, 109.0, 99.0)])
def test_reaching_the_liquidation_price_is_enough(side: int, high: float, low: float) -> None:
    level = 100.0 - 9.0 * side
    assert bar_exit(side, 0.0, 0.0, level, make_spec(0.5), 100.0, high, low) == LIQUIDATION


def one_contract(multiplier: float, total_share: float) -> World:
    """Return a world of 10,000 USDT that wants symbol 0 at 100: cap and natural size are 6,000."""
    params = Params(entry_band=0.0, max_total_share=total_share)
    w = make_world(params=params, specs=[make_spec(multiplier=multiplier)], strategies=(TREND,))
    w.symbols[0].mark, w.symbols[0].atr = 100.0, 0.8
    w.wishes[0] = 1.0
    return w


@pytest.mark.parametrize(
    ("multiplier", "total_share", "verdict"),
    [(60.0, 1.5, ACCEPTED), (30.0, 0.5, CUT)],  # 6,000 of 6,000, and 3,000 of 5,000 USDT
)
def test_exactly_one_contract_is_enough(
    multiplier: float, total_share: float, verdict: int
) -> None:
    w = one_contract(multiplier, total_share)
    grant(w, 0, START)
    assert w.verdicts[0] == verdict
    assert (w.intents[0].kind, w.intents[0].contracts) == (ENTRY, 1.0)


def test_the_group_of_an_entry_counts_symbols_that_are_not_related_to_each_other() -> None:
    """1 moves with 0 and with 2, which do not move with each other (0.86, 0.86 and 0.47)."""
    w = make_world(3, specs=[make_spec(multiplier=1.0) for _ in range(3)])
    hour = START // HOUR
    for i in range(CORRELATION_SLOTS):
        u, v = (0.01, -0.01)[i % 2], (0.006, -0.006)[i // 2 % 2]
        for k, value in enumerate((u + v, u, u - v)):
            slot = k * CORRELATION_SLOTS + (hour - i) % CORRELATION_SLOTS
            w.samples[slot], w.returns[slot] = hour - i, value
    for k in (0, 2):
        w.symbols[k].mark = 100.0
        w.positions[k] = Position(side=LONG, contracts=20.0, entry_price=100.0)
    assert correlated_room(w, 1, LONG, START, 6_000.0) == 2_000.0


def test_a_loss_of_exactly_the_limit_is_within_it() -> None:
    params = Params(daily_loss_limit=0.5, drawdown_limit=0.5, fast_drawdown_limit=0.5)
    w = make_world(params=params)
    judge_limits(w, START)
    w.account.equity = 5_000.0
    judge_limits(w, START + 1)
    assert (w.account.drawdown, w.account.fast_drawdown) == (0.5, 0.5)
    assert (w.account.daily_locked, w.account.killed_at) == (0, 0)
    w.account.equity = 4_999.0
    judge_limits(w, START + 2)
    assert (w.account.daily_locked, w.account.killed_at) == (1, START + 2)


def test_a_higher_tier_begins_five_percent_above_its_floor() -> None:
    w = make_world(balance=1_050.0)
    w.account.tier = 1
    assert choose_tier(w.account, w.tiers, w.params) == 2


def test_an_entry_pays_its_fee_on_the_value_of_its_contracts() -> None:
    """Ten contracts of a thousandth of a coin at 100 are worth 1 USDT, not 1,000."""
    w = make_world(specs=[make_spec(multiplier=0.001)])
    w.params.slippage = 0.0
    w.intents[0] = Intent(kind=ENTRY, side=LONG, contracts=10.0, leverage=10.0, stop_distance=0.02)
    fill_entry(w, make_tape(market_of(bars_of([100.0]))), 0, START)
    assert w.positions[0].contracts == 10.0
    assert w.account.fees == 10.0 * 0.001 * 100.0 * w.params.taker_fee


def test_the_exchanges_money_is_that_of_its_contracts() -> None:
    """Twenty contracts of a tenth of a coin: 2 coins from 100, marked at 110, leverage 10."""
    ledger = Ledger(PARAMS, [replace(COIN, multiplier=0.1)], BALANCE)
    ledger.marks[0] = 110.0
    ledger.increase(0, 1, 20.0, 100.0, 10.0, T)
    assert ledger.equity() == BALANCE + 2 * 10.0
    assert ledger.free_margin() == BALANCE - 2 * 100.0 / 10.0
    assert ledger.settle_funding(0, 0.001) == -2 * 110.0 * 0.001
    assert ledger.wallet == BALANCE - 0.22
    ledger.reduce(0, 5.0, 120.0)
    assert ledger.wallet == pytest.approx(BALANCE - 0.22 + 0.5 * 20.0)
    assert ledger.book_fill(EXIT, 10.0, 120.0, TAKER, T) == 120.0 * PARAMS.taker_fee
    assert ledger.wallet == pytest.approx(BALANCE - 0.22 + 1.5 * 20.0 - 120.0 * PARAMS.taker_fee)
    assert ledger.take_over(0) == pytest.approx((5.0, 90.0, 0.5 * 90.0 * PARAMS.taker_fee))


@pytest.mark.parametrize("protection", [STOP, TARGET])
def test_a_small_order_closes_no_more_than_its_own_size(protection: PlaceOrder) -> None:
    exchange = BarExchange(PARAMS, [COIN], BALANCE)
    exchange.begin_bar(row(flat_bar(100.0)))
    exchange.submit(BUY, T)
    list(exchange.trade_at_open(T))
    assert isinstance(exchange.submit(replace(protection, contracts=1.0), T), OrderAccepted)
    [fill] = exchange.end_bar(row(flat_bar(97.0 if protection is STOP else 105.0)), T)
    assert isinstance(fill, OrderFilled)
    assert (fill.contracts, exchange.ledger.held[0].contracts) == (1.0, 9.0)


def test_a_symbol_that_gets_flat_leaves_the_orders_of_the_others() -> None:
    exchange = TickExchange(PARAMS, [COIN, COIN], BALANCE, seed=1, latency_ms=(0, 0), depth=100)
    exchange.load(Quote(T, k, 100.0, 100.0) for k in (0, 1))
    for k in (0, 1):
        for order in (BUY, STOP):
            named = f"{order.client_id}-{k}"
            exchange.submit(replace(order, symbol=k, contracts=1.0, client_id=named), T)
    exchange.submit(replace(EXIT, contracts=1.0), T)
    list(exchange.advance(T))
    assert [held.contracts for held in exchange.ledger.held] == [0.0, 1.0]
    assert list(exchange.book.orders) == ["3-stop-1"]


def test_an_entry_finds_what_the_one_before_it_left_of_a_level() -> None:
    exchange = tick_exchange(depth=6)
    exchange.submit(replace(BUY, contracts=4.0), T)
    exchange.submit(replace(BUY, contracts=4.0, client_id="2-entry"), T)
    fills = filled(list(exchange.advance(T)))
    assert fills == [("1-entry", 4.0, 100.1), ("2-entry", 2.0, 100.1), ("2-entry", 2.0, 100.3)]


def test_a_liquidation_takes_its_fee_from_the_wallet() -> None:
    """Ten coins from 100.1 at leverage 10: the margin is gone at 90.09, and the fee comes on
    top."""
    exchange = BarExchange(PARAMS, [COIN], BALANCE)
    exchange.begin_bar(row(flat_bar(100.0)))
    exchange.submit(BUY, T)
    [entry] = exchange.trade_at_open(T)
    assert isinstance(entry, OrderFilled)
    [event] = exchange.end_bar(row(Bar(90.0, 90.0, 90.0, 90.0, 1.0)), T)
    assert isinstance(event, Liquidated)
    assert event.fee == pytest.approx(10.0 * 90.09 * PARAMS.taker_fee)
    lost = 10.0 * (100.1 - event.price)
    assert exchange.ledger.wallet == pytest.approx(BALANCE - entry.fee - lost - event.fee)


def test_a_tape_has_every_column_of_every_symbol() -> None:
    data = market(
        HOUR_MS,
        candles(BTC, [(T0, 10.0, 12.0, 9.0, 11.0), (T0 + HOUR_MS, 11.0, 14.0, 8.0, 13.0)]),
        candles(ETH, [(T0, 5.0, 7.0, 4.0, 6.0)]),
    )
    tape = backtest.make_tape(data)
    assert list(tape.times) == [T0, T0 + HOUR_MS, T0]
    assert list(tape.opens) == [10.0, 11.0, 5.0]
    assert list(tape.highs) == [12.0, 14.0, 7.0]
    assert list(tape.lows) == [9.0, 8.0, 4.0]
    assert list(tape.closes) == [11.0, 13.0, 6.0]
    assert (list(tape.first), list(tape.cursor)) == ([0, 2, 3], [0, 2])


def test_a_backtest_ends_flat_and_its_days_are_those_of_the_account() -> None:
    """Fifty hours of standstill, then three at 1 % more each: one long, open when the data ends.

    The averages cross at the close of bar 50 (101), so it opens at the open of bar 51.
    """
    closes = [100.0] * 50 + [100.0 * 1.01**i for i in range(1, 4)]
    opens = [100.0, *closes[:-1]]
    rows = [
        (T0 + i * HOUR_MS, o, max(o, c), min(o, c), c)
        for i, (o, c) in enumerate(zip(opens, closes, strict=True))
    ]
    config = load_config(None, [f"symbols=[{BTC}]", "strategies=[ema_cross]", "timeframe=1h"])
    done = backtest.run_backtest(config, market(HOUR_MS, candles(BTC, rows)), engine="plain")
    result = done.result
    assert [(t.reason, t.entry_time) for t in result.trades] == [(END, T0 + 51 * HOUR_MS)]
    assert result.final_equity == result.deposits + result.trades[0].pnl
    # The bar that opens at 23:00 ends at 00:00: cycle 23 closes day one, cycle 47 day two.
    assert result.daily == [(T0 + DAY_MS, done.curve[23]), (T0 + 2 * DAY_MS, done.curve[47])]
