"""Fills, funding, equity on two paths, finished trades: worked numbers."""

import random

import pytest

from bot.core.kernel.accounting import (
    book_entry,
    book_funding,
    book_increase,
    book_reduce,
    finish_trade,
    funding_payment,
    mark_equity,
    owes_funding,
)
from bot.core.kernel.codes import ENTRY, FLAT, LONG, REVERSION, SHORT, STOP, TREND
from bot.core.kernel.params import Params
from bot.core.kernel.records import Account, Intent, Position, Trade, World
from tests.support.worlds import ALL_STRATEGIES, START, make_spec, make_world

SPEC = make_spec(tick=0.01, multiplier=0.1)


def account(balance: float = 1_000.0) -> Account:
    return Account(deposits=balance, cash=balance, equity=balance)


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_adding_averages_the_entry_price(side: int) -> None:
    a, pos = account(), Position()
    book_increase(a, pos, SPEC, side, 3.0, 100.0, 0.018)
    assert (pos.side, pos.contracts, pos.entry_price) == (side, 3.0, 100.0)
    book_increase(a, pos, SPEC, side, 1.0, 104.0, 0.00624)
    assert (pos.contracts, pos.entered) == (4.0, 4.0)
    assert pos.entry_price == 101.0  # (3 x 100 + 1 x 104) / 4
    # a long spends 0.3 x 100 + 0.1 x 104 = 40.4, a short receives it; both pay the fees
    assert a.cash == pytest.approx(1_000.0 - side * 40.4 - 0.02424)
    assert a.fees == pos.fees == pytest.approx(0.02424)
    assert a.realised == 0.0


@pytest.mark.parametrize(("side", "gain"), [(LONG, 2.0), (SHORT, -2.0)])
def test_reducing_realises_a_part(side: int, gain: float) -> None:
    a, pos = account(), Position()
    book_increase(a, pos, SPEC, side, 4.0, 100.0, 0.0)
    book_reduce(a, pos, SPEC, 1.0, 120.0, 0.0072)
    # 1 contract of 0.1 coins, 20 USDT away: 2 USDT, the entry price stays
    assert a.realised == pos.realised == pytest.approx(gain)
    assert (pos.contracts, pos.exited, pos.exit_value) == (3.0, 1.0, 120.0)
    assert (pos.entry_price, pos.entered, pos.side) == (100.0, 4.0, side)
    assert a.fees == pos.fees == pytest.approx(0.0072)
    assert a.cash == pytest.approx(1_000.0 - side * 40.0 + side * 12.0 - 0.0072)


def entry_world(side: int, contracts: float) -> World:
    """Return a world with an entry intended on symbol 1 of two: reversion, leverage 8, stop 3 %."""
    w = make_world(2, specs=[make_spec(), SPEC], balance=1_000.0)
    intent = w.intents[1]
    intent.kind, intent.side, intent.contracts, intent.strategy = ENTRY, side, contracts, 2
    intent.leverage, intent.stop_distance, intent.target_distance = 8.0, 0.03, 0.045
    return w


def test_booking_an_entry_takes_over_the_intent_and_protects_it() -> None:
    w = entry_world(LONG, 4.0)
    book_entry(w, 1, START, 3.0, 100.0, 0.01)
    pos = w.positions[1]
    assert (pos.entry_time, pos.strategy, pos.leverage, pos.best_close) == (START, 2, 8.0, 100.0)
    assert (pos.stop_price, pos.target_price) == (97.0, 104.5)
    assert pos.liquidation_price == pytest.approx(100.0 * (1.0 - (0.125 - 0.0106) / 1.0106))
    assert w.positions[0] == Position()


def test_a_second_fill_moves_the_levels_to_the_average() -> None:
    w = entry_world(SHORT, 4.0)
    book_entry(w, 1, START, 3.0, 100.0, 0.01)
    book_entry(w, 1, START + 250, 1.0, 104.0, 0.01)
    pos = w.positions[1]
    assert (pos.entry_time, pos.contracts, pos.entry_price) == (START, 4.0, 101.0)
    assert (pos.stop_price, pos.target_price) == (104.03, 96.46)  # 101 x 1.03, 101 x 0.955 = 96.455
    assert pos.fees == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("side", "rate", "payment"),
    [(LONG, 0.0001, -10.0), (SHORT, 0.0001, 10.0), (LONG, -0.0001, 10.0), (SHORT, -0.0001, -10.0)],
)
def test_longs_pay_shorts_when_the_rate_is_positive(side: int, rate: float, payment: float) -> None:
    # 20 contracts x 0.1 coins x 50,000 USDT = 100,000 USDT
    assert funding_payment(side, 20.0, 50_000.0, rate, SPEC) == pytest.approx(payment)


def test_booking_funding() -> None:
    a, pos = account(), Position(side=LONG)
    book_funding(a, pos, -10.0)
    book_funding(a, pos, 4.0)
    assert (a.funding, pos.funding, a.cash) == (-6.0, -6.0, 994.0)


def two_positions() -> World:
    """Return a world: long 30 contracts of A entered at 100, short 20 of B entered at 50."""
    w = make_world(2, specs=[SPEC, SPEC], balance=1_000.0)
    book_increase(w.account, w.positions[0], SPEC, LONG, 30.0, 100.0, 0.18)
    book_increase(w.account, w.positions[1], SPEC, SHORT, 20.0, 50.0, 0.06)
    w.symbols[0].mark, w.symbols[1].mark = 110.0, 45.0
    return w


def test_equity_on_both_paths() -> None:
    w = two_positions()
    book_funding(w.account, w.positions[0], -0.5)
    # path one: 1000 - 0.24 fees - 0.5 funding + 3 x 10 + 2 x 5
    assert mark_equity(w) == pytest.approx(1_039.26)
    assert w.account.equity == pytest.approx(1_039.26)
    # path two: 1000 - 3 x 100 + 2 x 50 - 0.24 - 0.5 in cash, and 3 x 110 - 2 x 45 held
    assert w.account.cash == pytest.approx(799.26)
    assert w.account.cash + 330.0 - 90.0 == pytest.approx(1_039.26)
    assert w.account.identity_error < 1e-3


@pytest.mark.parametrize(
    ("balance", "lost", "error"),
    [(1_000.0, 0.5e-6, 0.5), (1_000.0, -2e-6, 2.0), (1e6, 50e-6, 0.5), (1e6, 200e-6, 2.0)],
)
def test_the_identity_error_is_in_tolerances(balance: float, lost: float, error: float) -> None:
    """The tolerance is 1e-6 USDT, and 1e-6 for every 10,000 USDT above that."""
    w = make_world(1, balance=balance)
    w.account.cash -= lost
    mark_equity(w)
    assert w.account.identity_error == pytest.approx(error, rel=1e-3)
    w.account.cash += lost
    mark_equity(w)
    assert w.account.identity_error == pytest.approx(error, rel=1e-3)  # the largest is kept


@pytest.mark.parametrize("name", ["realised", "fees", "funding", "deposits"])
def test_the_identity_notices_a_booking_on_one_path_only(name: str) -> None:
    w = two_positions()
    setattr(w.account, name, getattr(w.account, name) + 0.01)
    mark_equity(w)
    assert w.account.identity_error > 1_000.0


def test_the_identity_notices_a_wrong_entry_price_and_a_lost_contract() -> None:
    w = two_positions()
    w.positions[0].entry_price += 0.01
    mark_equity(w)
    assert w.account.identity_error > 1_000.0
    w = two_positions()
    w.positions[1].contracts -= 1.0
    mark_equity(w)
    assert w.account.identity_error > 1_000.0


def test_a_finished_trade() -> None:
    w = entry_world(LONG, 4.0)
    book_entry(w, 1, START, 4.0, 100.0, 0.024)
    pos = w.positions[1]
    book_funding(w.account, pos, -0.05)
    book_reduce(w.account, pos, SPEC, 1.0, 110.0, 0.0066)
    book_reduce(w.account, pos, SPEC, 3.0, 90.0, 0.0162)
    trade = Trade()
    finish_trade(w, 1, START + 7_200_000, STOP, trade)
    assert (trade.entry_time, trade.exit_time, trade.symbol) == (START, START + 7_200_000, 1)
    assert (trade.strategy, trade.side, trade.reason) == (REVERSION, LONG, STOP)
    assert trade.contracts == 4.0
    assert trade.quantity == pytest.approx(0.4)
    assert (trade.entry_price, trade.exit_price) == (100.0, 95.0)  # (1 x 110 + 3 x 90) / 4
    assert trade.fees == pytest.approx(0.0468)
    assert trade.funding == pytest.approx(-0.05)
    # 0.1 x 10 - 0.3 x 10 = -2 realised, minus 0.0468 fees, minus 0.05 funding
    assert trade.pnl == pytest.approx(-2.0968)
    assert w.positions[1] == Position()
    assert w.account.trades == 1
    assert mark_equity(w) == pytest.approx(1_000.0 - 2.0968)


def test_a_trade_names_its_strategy_not_its_place_in_the_configuration() -> None:
    w = make_world(1, strategies=(REVERSION, TREND))
    w.intents[0] = Intent(kind=ENTRY, side=LONG, strategy=1, leverage=4.0)
    book_entry(w, 0, START, 1.0, 100.0, 0.0)
    trade = Trade()
    finish_trade(w, 0, START, STOP, trade)
    assert trade.strategy == TREND


def test_a_flip_is_two_bookings() -> None:
    w = entry_world(LONG, 2.0)
    book_entry(w, 1, START, 2.0, 100.0, 0.012)
    book_reduce(w.account, w.positions[1], SPEC, 2.0, 110.0, 0.0132)
    finish_trade(w, 1, START + 1, STOP, Trade())
    w.intents[1].side = SHORT
    book_entry(w, 1, START + 1, 3.0, 110.0, 0.0198)
    pos = w.positions[1]
    assert (pos.side, pos.contracts, pos.entry_price, pos.entered) == (SHORT, 3.0, 110.0, 3.0)
    assert (pos.realised, pos.best_close) == (0.0, 110.0)
    assert pos.fees == pytest.approx(0.0198)
    assert (pos.stop_price, pos.target_price) == (113.3, 105.05)
    w.symbols[1].mark = 100.0
    # 0.2 x 10 realised + 0.3 x 10 open - 0.045 fees
    assert mark_equity(w) == pytest.approx(1_000.0 + 2.0 + 3.0 - 0.045)
    assert w.account.identity_error < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_the_paths_agree_over_thousands_of_random_bookings(seed: int) -> None:
    rng = random.Random(seed)
    w = make_world(2, specs=[make_spec(0.1, 0.001), make_spec(1e-5, 100.0)], balance=100_000.0)
    prices = [65_000.0, 0.12345]
    trades = pnl = 0.0
    for step in range(2_000):
        k = rng.randrange(2)
        pos = w.positions[k]
        prices[k] *= 1.0 + rng.gauss(0.0, 0.005)
        w.symbols[k].mark = prices[k]
        intent = w.intents[k]
        if pos.side == FLAT:
            intent.side, intent.strategy = rng.choice((LONG, SHORT)), rng.randrange(3)
            intent.leverage, intent.stop_distance, intent.target_distance = 8.0, 0.03, 0.06
        if pos.side == FLAT or rng.random() < 0.3:
            book_entry(w, k, START + step, float(rng.randint(1, 500)), prices[k], rng.random())
        elif rng.random() < 0.2:
            rate = rng.gauss(0.0, 1e-3)
            paid = funding_payment(pos.side, pos.contracts, prices[k], rate, w.specs[k])
            book_funding(w.account, pos, paid)
        else:
            part = (
                pos.contracts if rng.random() < 0.5 else float(rng.randint(1, int(pos.contracts)))
            )
            book_reduce(w.account, pos, w.specs[k], part, prices[k], rng.random())
            if pos.contracts == 0.0:
                trade = Trade()
                finish_trade(w, k, START + step, STOP, trade)
                trades, pnl = trades + 1, pnl + trade.pnl
                assert trade.strategy == ALL_STRATEGIES[intent.strategy]
        mark_equity(w)
    assert w.account.identity_error <= 1.0
    assert w.account.trades == trades > 100
    held = sum(p.realised - p.fees + p.funding for p in w.positions)
    a = w.account
    assert pnl + held == pytest.approx(a.realised - a.fees + a.funding, abs=1e-6)


@pytest.mark.parametrize(
    ("side", "opened", "reference", "owes"),
    [(1, 99, 0, True), (-1, 99, 0, True), (1, 100, 0, False), (0, 0, 0, False), (1, 99, 1, False)],
)
def test_funding_is_owed_by_positions_opened_before_the_settlement(
    side: int, opened: int, reference: int, owes: bool
) -> None:
    assert owes_funding(side, opened, 100, Params(reference=reference)) is owes
