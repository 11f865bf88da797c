"""The loop over candles: fills at the open, stops inside the bar, funding, the kill, the end."""

import pytest

from bot.core.kernel.codes import (
    EMA_CROSS,
    END,
    ENTRY,
    EXIT,
    KILL,
    LIQUIDATION,
    LONG,
    NO_INTENT,
    REVERSAL,
    SHORT,
    SIGNAL,
    STOP,
    TARGET,
)
from bot.core.kernel.records import Intent, Trade, World
from bot.core.kernel.replay import finish, replay, settle_funding
from tests.support.worlds import (
    DAY,
    HOUR,
    START,
    Candle,
    Market,
    bars_of,
    cycle_count,
    first_cycle,
    make_spec,
    make_tape,
    make_world,
    market_of,
    random_market,
    reference_world,
    run_plain,
)

FILL = START + HOUR  # an intent that is there at the start fills at the open of the second bar


def wanting(side: int = LONG, symbols: int = 1, **intent: float) -> World:
    """Return a world that wants 10 coins of symbol 0 near 100 USDT, and nothing after that.

    Outside its profile the reference strategy has no indicators, so it never signals.
    Leverage 10, stop 2 %, target 6 %; fees 0.02 % and 0.06 %, slippage 3 bps, ticks of a cent.
    """
    specs = [make_spec(multiplier=1.0) for _ in range(symbols)]
    w = make_world(symbols, strategies=(EMA_CROSS,), specs=specs)
    fields = {"contracts": 10.0, "leverage": 10.0, "stop_distance": 0.02, "target_distance": 0.06}
    limit = 100.0 + 0.3 * side
    w.intents[0] = Intent(
        kind=ENTRY, time=START, side=side, limit_price=limit, reference_price=100.0
    )
    for name, value in {**fields, **intent}.items():
        setattr(w.intents[0], name, value)
    return w


def bars(*rows: tuple[float, float, float, float]) -> list[Candle]:
    """Return hourly bars of (open, high, low, close), after one flat bar at 100."""
    flat = (100.0, 100.0, 100.0, 100.0)
    return [Candle(START + i * HOUR, *row) for i, row in enumerate((flat, *rows))]


def played(
    w: World, candles: list[Candle], funding: list[tuple[int, float]] | None = None
) -> World:
    """Run the candles of symbol 0 without closing at the end."""
    run_plain(w, Market(HOUR, [candles], [funding or []]), close=False)
    return w


@pytest.mark.parametrize(("side", "price"), [(LONG, 100.03), (SHORT, 99.97)])
def test_an_entry_fills_at_the_next_open_with_slippage_and_fee(side: int, price: float) -> None:
    w = played(wanting(side), bars((100.0, 100.5, 99.5, 100.2)))
    pos = w.positions[0]
    assert (pos.side, pos.contracts, pos.entry_price, pos.entry_time) == (side, 10.0, price, FILL)
    assert pos.fees == pytest.approx(10.0 * price * 0.0006)
    assert pos.stop_price == pytest.approx(price * (1.0 - 0.02 * side), abs=0.005)
    assert w.intents[0].kind == NO_INTENT


@pytest.mark.parametrize(
    ("side", "open_", "fills"),
    [
        (LONG, 100.26, True),  # 100.26 x 1.0003 = 100.2901: 100.30 is the limit
        (LONG, 100.28, False),  # 100.3101
        (LONG, 95.0, True),
        (SHORT, 99.74, True),
        (SHORT, 99.72, False),
        (SHORT, 105.0, True),
    ],
)
def test_an_entry_beyond_its_limit_expires(side: int, open_: float, fills: bool) -> None:
    w = played(wanting(side), bars((open_, open_, open_, open_), (100.0, 100.0, 100.0, 100.0)))
    assert (w.positions[0].side == side) == fills
    assert w.intents[0].kind == NO_INTENT
    assert w.account.fees == pytest.approx(w.positions[0].fees)


def test_an_entry_without_a_bar_expires() -> None:
    candles = bars((100.0, 100.0, 100.0, 100.0), (100.0, 100.0, 100.0, 100.0))
    del candles[1]
    w = played(wanting(), candles)
    assert w.positions[0].side == 0
    assert w.intents[0].kind == NO_INTENT


# A long is in at 100.03: stop 98.03, target 106.03, liquidation 91.09.
LONG_EXITS = [
    # bars from the entry on, reason, exit price, fee rate, end of the last bar
    ([(100.0, 101.0, 98.0, 99.0)], STOP, 98.0, 0.0006, 2),  # 98.03 x 0.9997 = 98.0006, down
    ([(100.0, 101.0, 99.0, 99.0), (97.0, 98.0, 96.0, 97.0)], STOP, 96.97, 0.0006, 3),
    ([(100.0, 106.04, 99.0, 106.0)], TARGET, 106.03, 0.0002, 2),
    ([(100.0, 106.03, 99.0, 106.0)], 0, 0.0, 0.0, 0),  # touched, not traded through
    ([(100.0, 101.0, 99.0, 99.0), (107.0, 108.0, 106.5, 107.0)], TARGET, 107.0, 0.0002, 3),
    ([(100.0, 107.0, 98.0, 99.0)], STOP, 98.0, 0.0006, 2),  # both in one bar: the stop first
    ([(100.0, 101.0, 99.0, 99.0), (90.0, 95.0, 80.0, 85.0)], LIQUIDATION, 90.027, 0.0006, 3),
]


@pytest.mark.parametrize(("rows", "reason", "price", "rate", "end"), LONG_EXITS)
def test_what_happens_inside_a_bar_is_stamped_with_its_end(
    rows: list[tuple[float, float, float, float]],
    reason: int,
    price: float,
    rate: float,
    end: int,
) -> None:
    w = wanting()
    trades = run_plain(w, market_of(bars(*rows)), close=False).trades
    if reason == 0:
        assert trades == []
        return
    trade = trades[0]
    assert (trade.reason, trade.exit_time) == (reason, START + end * HOUR)
    assert trade.exit_price == pytest.approx(price, rel=1e-12)
    assert trade.fees == pytest.approx(10.0 * (100.03 * 0.0006 + price * rate))
    assert trade.pnl == pytest.approx(10.0 * (price - 100.03) - trade.fees)
    assert w.account.equity == pytest.approx(10_000.0 + trade.pnl)
    assert w.account.identity_error < 1.0


def test_a_trailed_stop_moves_at_the_close_not_inside_the_bar() -> None:
    """The bar that makes the gain also falls back: it must not meet the stop it only leads to."""
    rows = [(100.0, 105.0, 100.0, 104.0), (104.0, 104.0, 101.9, 102.0)]
    trades = run_plain(wanting(), market_of(bars(*rows)), close=False).trades
    # one stop distance, 2 % of 100.03, behind the best close 104: 101.9994, rounded to 102.00
    assert [(t.reason, t.exit_time) for t in trades] == [(STOP, START + 3 * HOUR)]
    assert trades[0].exit_price == 101.96  # 102 x 0.9997 = 101.9694, down


FLAT = (100.0, 100.0, 100.0, 100.0)


@pytest.mark.parametrize(
    ("times", "side", "paid"),
    [
        ([FILL], LONG, 0.0),  # opened at the settlement: pays none
        ([FILL + HOUR], LONG, -1.02),  # 10 x 102 x 0.001
        ([FILL + HOUR], SHORT, 1.02),
        ([FILL + HOUR // 2], LONG, -1.02),  # inside the bar: booked at its end
        ([START - DAY, START, FILL], LONG, 0.0),
        ([FILL + HOUR, FILL + 2 * HOUR], LONG, -1.02 - 1.01),
        ([FILL + HOUR // 2, FILL + HOUR], LONG, -2.04),
        ([FILL + 3 * HOUR], LONG, 0.0),  # after the end
    ],
)
def test_funding_is_paid_on_positions_held(times: list[int], side: int, paid: float) -> None:
    rows = [(100.0, 102.0, 100.0, 102.0), (102.0, 102.0, 101.0, 101.0)]
    w = wanting(side, stop_distance=0.05)
    played(w, bars(*rows), [(time, 0.001) for time in times])
    assert w.account.funding == pytest.approx(paid)
    assert w.positions[0].funding == pytest.approx(paid)


def test_a_settlement_that_is_booked_late_asks_when_the_position_was_opened() -> None:
    """It fell due before, or just when, the position was opened."""
    for settled, paid in ((FILL - 1, 0.0), (FILL, 0.0), (FILL + 1, -1.0)):
        w = held()
        w.symbols[0].mark = 100.0
        tape = make_tape(Market(HOUR, [bars(FLAT)], [[(settled, 0.001)]]))
        settle_funding(w, tape, 0, FILL + HOUR)
        assert w.account.funding == pytest.approx(paid)
        assert tape.funding_cursor == [1]


def test_a_position_stopped_before_the_settlement_pays_none() -> None:
    w = played(wanting(), bars((100.0, 100.0, 97.0, 99.0)), [(FILL + HOUR, 0.001)])
    assert (w.account.trades, w.account.funding) == (1, 0.0)


def test_funding_shows_in_the_equity_of_its_own_cycle() -> None:
    market = Market(HOUR, [bars(FLAT, FLAT)], [[(FILL + HOUR, 0.001)]])
    run = run_plain(wanting(), market, close=False)
    entry = 10_000.0 - 10.0 * 100.03 * 0.0006 - 10.0 * 0.03
    assert run.curve == pytest.approx([10_000.0, entry - 1.0, entry - 1.0])


def held(side: int = LONG, symbols: int = 1) -> World:
    """Return a world that holds 10 coins of symbol 0 from 100.03 or 99.97, after two flat bars."""
    return played(wanting(side, symbols), bars(FLAT))


def leave_after(
    rows: list[tuple[float, float, float, float]], hole: bool
) -> tuple[World, list[Trade]]:
    """Run a long whose exit is wanted at the end of the third bar; maybe the fourth is missing."""
    candles = bars(FLAT, FLAT, *rows)
    if hole:
        del candles[3]
    w, tape = wanting(), make_tape(market_of(candles))
    trades, curve = [Trade() for _ in range(8)], [0.0] * 8
    replay(w, tape, FILL, 0, 2, trades, curve)
    w.intents[0] = Intent(kind=EXIT, time=FILL + HOUR, side=LONG, contracts=10.0, reason=SIGNAL)
    _, count = replay(w, tape, FILL, 2, 2 + len(rows), trades, curve)
    return w, trades[:count]


def test_an_exit_fills_at_the_next_open() -> None:
    w, trades = leave_after([(101.0, 102.0, 99.0, 99.5)], False)
    assert [(t.reason, t.exit_time, t.exit_price) for t in trades] == [
        (SIGNAL, START + 3 * HOUR, 100.96)  # 101 x 0.9997 = 100.9697, down
    ]
    assert trades[0].fees == pytest.approx(10.0 * (100.03 + 100.96) * 0.0006)
    assert (w.positions[0].side, w.intents[0].kind) == (0, NO_INTENT)


def test_an_exit_waits_for_the_next_bar_there_is() -> None:
    """The bar after the hole is not yet looked into for stops: its open comes first."""
    w, trades = leave_after([FLAT, (90.0, 90.0, 89.0, 90.0), FLAT], True)
    assert [(t.reason, t.exit_time) for t in trades] == [(SIGNAL, START + 4 * HOUR)]
    assert trades[0].exit_price == 89.97
    assert w.positions[0].side == 0


def test_the_kill_switch_closes_at_the_next_open() -> None:
    """20 % of 10,000 USDT is lost on paper at a close; the stop is far away."""
    w = wanting(contracts=100.0, leverage=1.0, stop_distance=0.5)
    rows = [(100.0, 100.0, 80.0, 80.0), (81.0, 81.0, 81.0, 81.0), FLAT, FLAT]
    run = run_plain(w, market_of(bars(*rows)))
    assert w.account.killed_at == START + 2 * HOUR
    assert [(t.reason, t.exit_time, t.exit_price) for t in run.trades] == [
        (KILL, START + 2 * HOUR, 80.97)  # the open of the bar that begins then, 81 x 0.9997
    ]
    assert len(run.curve) == 5
    assert run.curve[4] == run.curve[2]


def test_every_symbol_has_its_own_bars() -> None:
    """Symbol 1 starts late and ends early; symbol 0 trades on."""
    w = wanting(symbols=2)
    late = [Candle(START + 2 * HOUR, 7.0, 7.0, 7.0, 7.0)]
    run_plain(w, market_of(bars(FLAT, FLAT, FLAT), late), close=False)
    assert [s.bars for s in w.symbols] == [4, 1]
    assert [s.bar_time for s in w.symbols] == [START + 4 * HOUR, START + 3 * HOUR]
    assert w.positions[0].side == LONG
    assert w.account.cycles == 4


@pytest.mark.parametrize(("side", "price"), [(LONG, 99.97), (SHORT, 100.03)])
def test_the_end_closes_at_the_last_mark_with_slippage(side: int, price: float) -> None:
    w = held(side)
    trades = [Trade(), Trade()]
    assert finish(w, START + 2 * HOUR, trades) == 1
    assert (trades[0].reason, trades[0].exit_time) == (END, START + 2 * HOUR)
    assert trades[0].exit_price == price
    assert w.account.equity == pytest.approx(10_000.0 + trades[0].pnl)
    assert w.account.identity_error < 1.0


@pytest.mark.parametrize("wanted", [SIGNAL, REVERSAL])
def test_when_data_ends_positions_close_with_reason_end(wanted: int) -> None:
    """Also where the last bar gave an exit signal: there is no bar left to act on it."""
    w = held()
    w.intents[0] = Intent(kind=EXIT, time=START + 2 * HOUR, side=LONG, reason=wanted)
    trades = [Trade(), Trade()]
    finish(w, START + 2 * HOUR, trades)
    assert trades[0].reason == END


def test_the_end_drops_entries() -> None:
    w = wanting()
    assert finish(w, START, [Trade(), Trade()]) == 0
    assert w.intents[0].kind == NO_INTENT
    assert w.positions[0].side == 0


def test_the_loop_pauses_when_trades_have_no_room_left() -> None:
    market = random_market(4, 1, 1_500, funding=False)
    whole = run_plain(reference_world(), market, room=1_000)
    tape, first = make_tape(market), first_cycle(market)
    curve, buffer = [0.0] * cycle_count(market), [Trade() for _ in range(4)]
    cycle, count = replay(reference_world(), tape, first, 0, len(curve), buffer, curve)
    assert 2 < count <= 4
    assert cycle < len(curve)
    assert buffer[:count] == whole.trades[:count]
    assert curve[:cycle] == whole.curve[:cycle]


def test_a_reversal_is_sized_on_the_equity_it_leaves() -> None:
    """Long 100 coins from 100, reversed at 150: 30 % of 15,000 minus costs."""
    w = reference_world()
    w.params.slippage = 0.0
    w.intents[0] = Intent(kind=ENTRY, side=LONG, notional=10_000.0, stop_distance=0.9)
    w.intents[0].target_distance = 9.0
    tape = make_tape(market_of(bars_of([100.0, 100.0, 150.0, 150.0])))
    trades, curve = [Trade() for _ in range(4)], [0.0] * 4
    replay(w, tape, FILL, 0, 2, trades, curve)
    w.intents[0] = Intent(kind=EXIT, side=LONG, reason=REVERSAL, reverse_side=SHORT)
    _, count = replay(w, tape, FILL, 2, 3, trades, curve)
    assert (count, trades[0].reason) == (1, REVERSAL)
    equity = 15_000.0 - 6.0 - 9.0  # 0.06 % of 10,000 and of 15,000
    pos = w.positions[0]
    assert (pos.side, pos.entry_time, pos.entry_price) == (SHORT, START + 3 * HOUR, 150.0)
    assert pos.contracts == pytest.approx(0.3 * equity / 150.0)
