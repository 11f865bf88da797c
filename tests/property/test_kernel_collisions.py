"""Arbitration against a plain retelling of DESIGN section 4, on random wishes and positions."""

import math
import statistics
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.kernel.codes import (
    ACCEPTED,
    ALREADY_IN,
    CORRELATED,
    CUT,
    ENTRY,
    EXIT,
    IN_FLIGHT,
    LOCKED,
    MARGIN,
    MAX_POSITIONS,
    MIN_CONTRACT,
    MODE,
    MOMENTUM,
    NO_WISH,
    OPPOSITE,
    OWNED,
    RANGE,
    REVERSION,
    RISK_CAP,
    RUN,
    SAME_SIDE,
    TOTAL_CAP,
    TREND,
    TRENDING,
)
from bot.core.kernel.decide import decide
from bot.core.kernel.params import Params
from bot.core.kernel.records import CORRELATION_SLOTS, Intent, Position, World
from tests.support.worlds import HOUR, START, make_spec, make_world

NOW = START + 4_000 * HOUR
BAND, FEE, MAINTENANCE = 0.003, 0.0006, 0.01
# floor, leverage, share of equity, risk per trade, absolute cap
TABLE = [
    (0.0, 4.0, 0.30, 0.010, math.inf),
    (100.0, 6.0, 0.40, 0.015, math.inf),
    (1_000.0, 8.0, 0.50, 0.020, math.inf),
    (10_000.0, 10.0, 0.60, 0.025, math.inf),
    (100_000.0, 12.0, 0.60, 0.030, 50_000.0),
]


class Symbol(NamedTuple):
    """One symbol as it is drawn: its wishes by strategy, and what is open or in flight on it."""

    wishes: dict[int, float]
    atr: float
    factor: int
    """which of three return series it follows: symbols of one factor correlate"""
    held: tuple[int, int, float] | None
    """(index of the owner, side, share of equity)"""
    locked: bool
    in_flight: bool
    has_bar: bool


class Used(NamedTuple):
    """What one symbol takes of each cap."""

    side: int
    notional: float
    risk: float
    margin: float
    of_this_cycle: bool


STRENGTHS = st.sampled_from([0.0, 0.0, 1.0, -1.0, 1.5, -1.5, 2.0, 3.0, -3.0])
WISHES = st.one_of(
    st.fixed_dictionaries({TREND: STRENGTHS, MOMENTUM: STRENGTHS}),
    st.fixed_dictionaries({REVERSION: STRENGTHS, MOMENTUM: STRENGTHS}),
)
SYMBOLS = st.builds(
    Symbol,
    wishes=WISHES,
    atr=st.sampled_from([0.1, 1.0, 1.4, 9.0]),
    factor=st.integers(0, 2),
    held=st.one_of(
        st.none(),
        st.none(),
        st.none(),
        st.tuples(st.integers(0, 2), st.sampled_from([1, -1]), st.floats(0.01, 0.7)),
    ),
    locked=st.sampled_from([False] * 9 + [True]),
    in_flight=st.sampled_from([False] * 9 + [True]),
    has_bar=st.sampled_from([True] * 9 + [False]),
)


def factor_return(factor: int, hour: int) -> float:
    """Return one of three series that do not correlate."""
    return 0.01 * (1, -1)[hour // 2**factor % 2]


def drawn_world(symbols: list[Symbol], order: tuple[int, ...], equity: float) -> World:
    specs = [make_spec(multiplier=0.001, maintenance=MAINTENANCE) for _ in symbols]
    params = Params(entry_band=BAND, taker_fee=FEE)
    w = make_world(len(symbols), params=params, strategies=order, specs=specs, balance=equity)
    for k, drawn in enumerate(symbols):
        s = w.symbols[k]
        s.bars, s.mark, s.atr = 500, 100.0, drawn.atr
        s.bar_time = NOW if drawn.has_bar else NOW - HOUR
        s.locked = int(drawn.locked)
        s.regime = TRENDING if TREND in drawn.wishes else RANGE
        s.spread = drawn.wishes.get(TREND, 0.0) * 0.5
        s.score = drawn.wishes[MOMENTUM] * 2.0
        s.prev_zscore = drawn.wishes.get(REVERSION, 0.0) * -2.0
        for hour in range(NOW // HOUR - CORRELATION_SLOTS + 1, NOW // HOUR + 1):
            slot = k * CORRELATION_SLOTS + hour % CORRELATION_SLOTS
            w.samples[slot], w.returns[slot] = hour, factor_return(drawn.factor, hour)
        if drawn.held is not None:
            owner, side, share = drawn.held
            contracts = float(int(share * equity / 0.1) + 1)
            w.positions[k] = Position(
                side=side,
                contracts=contracts,
                entry_price=100.0,
                best_close=100.0,
                stop_distance=0.02,
                stop_price=100.0 - 2.0 * side,
                strategy=owner % len(order),
                leverage=8.0,
            )
        elif drawn.in_flight:
            w.intents[k] = Intent(
                kind=ENTRY,
                time=NOW - HOUR,
                side=1,
                contracts=1.0,
                reference_price=100.0,
                leverage=8.0,
                stop_distance=0.02,
            )
    return w


def first_verdicts(
    symbols: list[Symbol], order: tuple[int, ...], mode: int
) -> tuple[dict[tuple[int, int], int], list[tuple[float, int, int]], dict[str, int]]:
    """Return verdicts by (strategy index, symbol), candidates in order of grants, collisions."""
    verdicts: dict[tuple[int, int], int] = {}
    candidates = []
    collisions = {"opposite": 0, "owned": 0}
    for k, drawn in enumerate(symbols):
        wishes = [drawn.wishes.get(kind, 0.0) if drawn.has_bar else 0.0 for kind in order]
        wishing = [j for j, wish in enumerate(wishes) if wish]
        opposite = any(w > 0 for w in wishes) and any(w < 0 for w in wishes)
        collisions["opposite"] += opposite and drawn.held is None
        for j, wish in enumerate(wishes):
            if not wish:
                verdict = NO_WISH
            elif drawn.held is not None:
                owner = drawn.held[0] % len(order)
                verdict = ALREADY_IN if j == owner else OWNED
                collisions["owned"] += j != owner and wish * drawn.held[1] < 0
            elif opposite:
                verdict = OPPOSITE
            elif mode != RUN:
                verdict = MODE
            elif drawn.locked:
                verdict = LOCKED
            elif drawn.in_flight:
                verdict = IN_FLIGHT
            elif j != wishing[0]:
                verdict = SAME_SIDE
            else:
                candidates.append((-abs(wish), j, k))
                continue
            verdicts[j, k] = verdict
    return verdicts, sorted(candidates), collisions


def in_use(symbols: list[Symbol], w: World) -> dict[int, Used]:
    """Return what open positions and orders in flight use, before the decision."""
    used = {}
    for k, drawn in enumerate(symbols):
        if drawn.held is not None:
            notional = w.positions[k].contracts * 0.1
            used[k] = Used(drawn.held[1], notional, 0.02 * notional, notional / 8.0, False)
        elif drawn.in_flight:
            notional = 0.1 * (1.0 + BAND)
            used[k] = Used(1, notional, 0.02 * notional, notional / 8.0, False)
    return used


def granted(
    symbols: list[Symbol], k: int, side: int, equity: float, used: dict[int, Used]
) -> tuple[float, int, Used]:
    """Return contracts, verdict and use of one candidate against everything used so far."""
    row = max(row for row in TABLE if row[0] <= equity)
    _, leverage, share, risk, most = row
    limit = 0.75 * (1.0 / leverage - MAINTENANCE - FEE)
    distance = min(max(2.5 * symbols[k].atr / 100.0, 0.02), 0.05, limit)
    contract = 0.1 * (1.0 + BAND)
    cap = min(share * equity, most)
    natural = min(cap, risk * equity / distance)
    rooms = {
        TOTAL_CAP: 1.5 * equity - sum(u.notional for u in used.values()),
        RISK_CAP: (0.06 * equity - sum(u.risk for u in used.values())) / distance,
        MARGIN: (equity - sum(u.margin for u in used.values())) * leverage,
    }

    def group(j: int) -> float:
        return sum(
            u.notional
            for i, u in used.items()
            if u.side == side and symbols[i].factor == symbols[j].factor
        )

    rooms[CORRELATED] = cap - group(k)
    room = min(rooms.values())
    contracts = float(math.floor(min(natural, room) / contract))
    if math.floor(natural / contract) < 1:
        return 0.0, MIN_CONTRACT, Used(0, 0.0, 0.0, 0.0, True)
    if contracts < 1:
        return 0.0, min(rooms, key=lambda code: rooms[code]), Used(0, 0.0, 0.0, 0.0, True)
    notional = contracts * contract
    use = Used(side, notional, notional * distance, notional / leverage, True)
    return contracts, ACCEPTED if room >= natural else CUT, use


@settings(max_examples=300)
@given(
    symbols=st.lists(SYMBOLS, min_size=1, max_size=6),
    order=st.permutations([TREND, MOMENTUM, REVERSION]).map(tuple),
    equity=st.sampled_from([20.0, 333.0, 5_000.0, 40_000.0, 250_000.0]),
    mode=st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 3]),
)
def test_arbitration_is_that_of_the_design(
    symbols: list[Symbol], order: tuple[int, ...], equity: float, mode: int
) -> None:
    w = drawn_world(symbols, order, equity)
    used = in_use(symbols, w)
    verdicts, candidates, collisions = first_verdicts(symbols, order, mode)
    wanted: dict[int, tuple[float, int, int]] = {}
    for _, j, k in candidates:
        if len(used) >= 3:
            verdicts[j, k] = MAX_POSITIONS
            continue
        side = 1 if symbols[k].wishes[order[j]] > 0 else -1
        contracts, verdicts[j, k], use = granted(symbols, k, side, equity, used)
        if contracts:
            used[k], wanted[k] = use, (contracts, side, j)
    decide(w, NOW, mode)
    n = len(symbols)
    assert {(j, k): w.verdicts[j * n + k] for j in range(3) for k in range(n)} == verdicts
    for k, intent in enumerate(w.intents):
        if intent.kind == ENTRY and intent.time == NOW:
            contracts, side, j = wanted.pop(k)
            # The last contract may hang on a rounding error.
            assert intent.contracts == pytest.approx(contracts, abs=1.0)
            assert (intent.side, intent.strategy) == (side, j)
        elif intent.kind == EXIT:
            assert symbols[k].held is not None
    assert wanted == {}
    assert w.account.collisions_opposite == collisions["opposite"]
    assert w.account.collisions_owned == collisions["owned"]
    assert w.account.collisions_unresolved == 0


def test_the_three_factors_do_not_correlate() -> None:
    hours = range(NOW // HOUR - CORRELATION_SLOTS + 1, NOW // HOUR + 1)
    series = [[factor_return(factor, hour) for hour in hours] for factor in range(3)]
    for i in range(3):
        for j in range(i):
            assert abs(statistics.correlation(series[i], series[j])) < 0.1
