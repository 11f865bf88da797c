"""What the bot counts of itself: orders, errors, results, times; in bounded memory."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bot.adapters.line_state import LineState
from bot.core.market import DAY_MS, Bar
from bot.core.messages import (
    Condition,
    Cycle,
    History,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    PlaceOrder,
    Role,
    Tick,
    TradeClosed,
)
from bot.core.modes import Cause
from bot.core.observations import OutcomeUnknown
from bot.core.performance import sharpe_ratio
from bot.shell.telemetry import DAYS, KINDS, MOST_SENT, Telemetry
from tests.support.pictures import IDENTITY, WatchedDesk
from tests.support.runs import trade
from tests.support.states import make_state

ORDER = "t-1-entry"
ANSWERS = [
    OrderAccepted(0, ORDER),
    OrderRejected(0, ORDER, "no"),
    OrderFilled(0, ORDER, "f", 1.0, 100.0, 0.0),
    OrderCancelled(0, ORDER),
    OutcomeUnknown(0, ORDER),
]


def entry(name: str) -> PlaceOrder:
    return PlaceOrder(name, 0, Role.ENTRY, 1, 1.0, 100.0, 3.0)


def shown(telemetry: Telemetry, name: str) -> Mapping[tuple[str, ...], float]:
    """Return a metric as a scrape of a bot that never traded would see it."""
    telemetry.publish(make_state(), True, {})
    return telemetry.latest.samples.get(name, {})


def counted(desk: WatchedDesk) -> dict[tuple[str, ...], float]:
    """Return the orders seen so far, by role and outcome."""
    orders = desk.picture().samples["orders_total"]
    return {values: number for values, number in orders.items() if number}


def test_orders_are_counted_by_role_and_outcome() -> None:
    desk = WatchedDesk(Telemetry(IDENTITY))
    desk.enter()
    entered = {
        (role, outcome): 1
        for role in ("entry", "stop", "target")
        for outcome in ("placed", "accepted")
    }
    assert counted(desk) == {**entered, ("entry", "filled"): 1}
    desk.fill("stop", 4.0, 98.0)
    desk.fill("stop", 6.0, 98.0)
    desk.cancelled("target")
    outcomes = {("entry", "filled"): 1, ("stop", "filled"): 2, ("target", "cancelled"): 1}
    assert counted(desk) == entered | outcomes


def test_an_order_that_was_never_sent_is_no_error_of_the_exchange() -> None:
    telemetry = Telemetry(IDENTITY)
    state = make_state()
    telemetry.saw(OrderRejected(0, "t-1-stop", "no"), [], state)
    telemetry.saw(OrderRejected(0, "t-2-stop", "the journal cannot be written", True), [], state)
    telemetry.saw(OrderAccepted(0, "somebody-elses"), [], state)
    orders = {values: n for values, n in shown(telemetry, "orders_total").items() if n}
    assert orders == {("stop", "rejected"): 1, ("stop", "denied"): 1}
    assert shown(telemetry, "errors_total")["rejected",] == 1


def test_errors_are_counted_by_kind_and_unknown_kinds_together() -> None:
    telemetry = Telemetry(IDENTITY)
    for kind in ("timeout", "timeout", "journal", "never heard of", "nor of this"):
        telemetry.error(kind)
    counts = dict.fromkeys(KINDS, 0) | {"timeout": 2, "journal": 1, "other": 2}
    assert shown(telemetry, "errors_total") == {(kind,): n for kind, n in counts.items()}


def test_errors_of_the_last_hour_are_forgotten_after_it() -> None:
    desk = WatchedDesk(Telemetry(IDENTITY))
    desk.bars(101.0)
    desk.reject("entry")
    assert desk.picture().samples["errors_last_hour"][()] == 1
    desk.feed(Tick(desk.now + 3_599_999))
    assert desk.picture().samples["errors_last_hour"][()] == 1
    desk.feed(Tick(desk.now + 1))
    assert desk.picture().samples["errors_last_hour"][()] == 0


@pytest.mark.parametrize("answer", ANSWERS)
def test_order_latency_is_from_the_order_to_its_first_answer(
    answer: OrderAccepted | OrderFilled | OutcomeUnknown,
) -> None:
    now = [10.0]
    telemetry = Telemetry(IDENTITY, lambda: now[0])
    state = make_state()
    telemetry.saw(Tick(0), [entry(ORDER), entry("t-2-entry")], state)
    now[0] = 10.25
    telemetry.saw(answer, [], state)
    now[0] = 11.0
    telemetry.saw(OrderFilled(0, ORDER, "g", 1.0, 100.0, 0.0), [], state)  # no first answer
    assert shown(telemetry, "order_latency_seconds")[()] == 0.25
    telemetry.saw(OrderAccepted(0, "t-2-entry"), [], state)
    assert shown(telemetry, "order_latency_seconds")[()] == 1.0
    assert shown(telemetry, "order_wait_seconds_total")[()] == 1.25
    assert shown(telemetry, "order_answers_total")[()] == 2


def test_an_order_that_was_never_sent_has_no_latency() -> None:
    now = [10.0]
    telemetry = Telemetry(IDENTITY, lambda: now[0])
    telemetry.saw(Tick(0), [entry(ORDER)], make_state())
    now[0] = 11.0
    telemetry.saw(OrderRejected(0, ORDER, "no disk", local=True), [], make_state())
    assert shown(telemetry, "order_answers_total")[()] == 0
    assert not telemetry.sent


def test_orders_that_are_never_answered_do_not_pile_up() -> None:
    telemetry = Telemetry(IDENTITY)
    for number in range(MOST_SENT + 5):
        telemetry.saw(Tick(0), [entry(f"t-{number}-entry")], make_state())
    assert len(telemetry.sent) == MOST_SENT
    assert "t-4-entry" not in telemetry.sent
    assert "t-5-entry" in telemetry.sent


def test_win_rates_over_the_last_trades_and_over_all() -> None:
    telemetry = Telemetry(IDENTITY)
    assert shown(telemetry, "win_rate_ratio") == {}
    # Of 30 trades, oldest first: 10 winners, 10 losers, 9 winners and one that made nothing.
    pnls = [1.0] * 10 + [-1.0] * 10 + [1.0] * 9 + [0.0]
    telemetry.restore([trade(pnl) for pnl in pnls[5:25]], [], (15, 10))
    telemetry.saw(Tick(0), [TradeClosed(trade(pnl)) for pnl in pnls[25:]], make_state())
    expected = {("10",): 9 / 10, ("20",): 9 / 20, ("all",): 19 / 30}
    assert shown(telemetry, "win_rate_ratio") == expected
    assert len(telemetry.pnls) == 20


def test_duration_is_the_average_of_the_last_twenty_trades() -> None:
    telemetry = Telemetry(IDENTITY)
    assert shown(telemetry, "trade_duration_average_seconds") == {}
    old = [trade(1.0, entry_time=0, exit_time=9_000_000)] * 5
    new = [trade(1.0, entry_time=0, exit_time=1_000 * n) for n in range(1, 21)]
    telemetry.restore([*old, *new], [], (25, 0))
    assert shown(telemetry, "trade_duration_average_seconds") == {(): 10.5}


def test_sharpe_ratio_is_that_of_daily_equity() -> None:
    telemetry = Telemetry(IDENTITY)
    telemetry.restore([], [(0, 100.0), (1, 110.0)], (0, 0))
    assert shown(telemetry, "sharpe_ratio") == {}
    state = make_state()
    state.world.account.equity = 99.0
    telemetry.saw(Cycle(2 * DAY_MS - 60_000, 0, ()), [], state)  # no midnight
    telemetry.saw(Cycle(2 * DAY_MS, 0, ()), [], state)
    expected = sharpe_ratio([110.0 / 100.0 - 1.0, 99.0 / 110.0 - 1.0])
    assert shown(telemetry, "sharpe_ratio") == {(): expected}


def test_daily_equities_are_bounded_to_the_newest() -> None:
    telemetry = Telemetry(IDENTITY)
    draw = random.Random(1)
    daily = [(day, draw.uniform(90.0, 110.0)) for day in range(DAYS + 7)]
    telemetry.restore([], daily, (0, 0))
    assert list(telemetry.daily) == [equity for _, equity in daily[7:]]


def test_uncovered_seconds_run_from_the_fill_to_the_acknowledged_stop() -> None:
    desk = WatchedDesk(Telemetry(IDENTITY), make_state(2))
    btc, eth = ((name,) for name in desk.state.symbols)
    desk.bars(101.0, 100.0)
    desk.accept("entry")
    desk.fill("entry", 10.0, 101.1)
    desk.wait(2)
    samples = desk.picture().samples
    assert samples["uncovered_seconds"] == {btc: 2.0, eth: 0.0}
    assert samples["unprotected_seconds"] == {(): 2.0}
    assert desk.telemetry.latest.health["unprotected_seconds"] == 2.0
    desk.accept("stop")
    samples = desk.picture().samples
    assert samples["uncovered_seconds"] == {btc: 0.0, eth: 0.0}
    assert samples["unprotected_seconds"] == {(): 0.0}


def test_a_position_is_measured_against_its_cap() -> None:
    desk = WatchedDesk(Telemetry(IDENTITY))
    [name] = ((name,) for name in desk.state.symbols)
    before = desk.picture().samples
    assert before["position_cap_ratio"] == before["position_entry_price_usdt"] == {name: 0.0}
    desk.enter()
    samples = desk.picture().samples
    assert samples["position_entry_price_usdt"] == {name: 101.1}
    # 10 contracts of one coin at 101; the tier from 1,000 USDT on allows half of the equity.
    assert samples["position_notional_usdt"] == {name: pytest.approx(1_010.0)}
    equity = desk.state.world.account.equity
    assert samples["position_cap_ratio"] == {name: pytest.approx(1_010.0 / (0.5 * equity))}


def test_commits_and_a_journal_that_fails() -> None:
    telemetry = Telemetry(IDENTITY)
    telemetry.commit(0.25, True, 0)
    telemetry.commit(0.5, False, 3)
    assert shown(telemetry, "journal_commits_total") == {(): 2}
    assert shown(telemetry, "journal_commit_seconds_total") == {(): 0.75}
    assert shown(telemetry, "journal_writable") == {(): 0.0}
    assert shown(telemetry, "journal_pending_rows") == {(): 3}


def test_a_picture_shares_nothing_with_what_goes_on_counting() -> None:
    telemetry = Telemetry(IDENTITY)
    desk = WatchedDesk(telemetry)
    picture = desk.picture()
    before = {name: dict(found) for name, found in picture.samples.items()}
    desk.enter()
    telemetry.error("timeout")
    assert {name: dict(found) for name, found in picture.samples.items()} == before


MONEY = {
    "equity_usdt": 1_003.0,
    "wallet_usdt": 1_000.0 + 70.0 - 5.0 + 11.0,  # deposits, realised, fees, funding
    "day_start_equity_usdt": 1_020.0,
    "daily_loss_ratio": 0.013,
    "drawdown_ratio": 0.027,
    "max_drawdown_ratio": 0.041,
    "fast_drawdown_ratio": 0.019,
    "total_profit_usdt": 3.0,
    "realised_profit_usdt": 70.0,
    "fees_paid_usdt": 5.0,
    "funding_received_usdt": 11.0,
    "unrealised_profit_usdt": 0.0,
    "cycles_total": 23.0,
    "trades_total": 7.0,
    "market_time_seconds": 29.0,
}


def test_every_number_of_the_account_has_its_own_name() -> None:
    state = make_state()
    account = state.world.account
    state.now_ms = 29_000
    account.deposits, account.equity, account.day_equity = 1_000.0, 1_003.0, 1_020.0
    account.realised, account.fees, account.funding = 70.0, 5.0, 11.0
    account.daily_loss, account.drawdown, account.max_drawdown = 0.013, 0.027, 0.041
    account.fast_drawdown = 0.019
    account.cycles, account.trades = 23, 7
    telemetry = Telemetry(IDENTITY)
    telemetry.publish(state, True, {})
    samples = telemetry.latest.samples
    assert {name: samples[name][()] for name in MONEY} == pytest.approx(MONEY)
    assert len(set(MONEY.values())) == len(MONEY)  # no two can be mistaken for each other


def test_times_of_cycle_and_account_are_those_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    telemetry = Telemetry(IDENTITY, lambda: now[0])
    monkeypatch.setattr("bot.shell.telemetry.time.time", lambda: 1_700_000_000.0 + now[0])
    assert shown(telemetry, "last_cycle_timestamp_seconds")[()] == 0.0
    assert shown(telemetry, "reconcile_age_seconds")[()] == 0.0
    now[0] = 15.0
    telemetry.saw(Cycle(60_000, 0, (None,)), [], make_state())
    assert shown(telemetry, "last_cycle_timestamp_seconds")[()] == 1_700_000_015.0
    assert shown(telemetry, "reconcile_age_seconds")[()] == 5.0
    now[0] = 20.0
    telemetry.account_read()
    now[0] = 22.0
    assert shown(telemetry, "last_account_timestamp_seconds")[()] == 1_700_000_020.0
    assert shown(telemetry, "reconcile_age_seconds")[()] == 2.0
    assert shown(telemetry, "last_cycle_timestamp_seconds")[()] == 1_700_000_015.0


def test_data_is_as_old_as_the_newest_bar_with_prices() -> None:
    telemetry, bar = Telemetry(IDENTITY), Bar(1.0, 1.0, 1.0, 1.0, 1.0)
    telemetry.saw(History(120_000, (None, bar)), [], make_state())
    telemetry.saw(Cycle(180_000, 180_000, (None, None)), [], make_state())
    telemetry.saw(History(60_000, (bar, None)), [], make_state())
    assert telemetry.data_ms == 120_000
    telemetry.saw(Cycle(240_000, 240_000, (bar, None)), [], make_state())
    assert telemetry.data_ms == 240_000


def test_the_line_to_the_exchange_is_shown_as_far_as_there_is_one() -> None:
    desk = WatchedDesk(Telemetry(IDENTITY))
    samples = desk.picture().samples
    assert samples["exchange_connected"] == {("rest",): 1.0}
    assert not {"request_budget_ratio", "clock_offset_seconds"} & set(samples)
    line = LineState(answers=1, budget=0.25, clock_offset_s=-0.5)
    samples = desk.picture(line).samples
    assert samples["exchange_connected"] == {("rest",): 1.0}
    assert samples["request_budget_ratio"] == {(): 0.25}
    assert samples["clock_offset_seconds"] == {(): -0.5}
    desk.feed(Condition(desk.now, Cause.EXCHANGE_UNREACHABLE, True))
    samples = desk.picture(replace(line, pushing=True)).samples
    assert samples["exchange_connected"] == {("rest",): 0.0, ("websocket",): 1.0}
    assert "websocket_push_age_seconds" not in samples
    samples = desk.picture(replace(line, pushing=False, push_age_s=7.5)).samples
    assert samples["exchange_connected"]["websocket",] == 0.0
    assert samples["websocket_push_age_seconds"] == {(): 7.5}


def test_paper_and_live_are_told_apart() -> None:
    [labels] = shown(Telemetry({**IDENTITY, "trading": "live"}), "build_info")
    assert labels[-1] == "live"
