"""What must hold at every instant, whatever the market, the latency, the depth and people do.

`core.step` trades on the simulated exchange in profile `tick`. After each event the exchange's own
book and positions are compared with what DESIGN section 5 promises. The bars are short and the
strategies eager, so that a run of two hours sees dozens of trades.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.kernel.accounting import IDENTITY_TOLERANCE
from bot.core.kernel.codes import FLAT, FLATTEN
from bot.core.kernel.params import Params, Spec
from bot.core.messages import (
    CancelOrder,
    Command,
    Condition,
    Cycle,
    Effect,
    Event,
    Operator,
    PlaceOrder,
    Role,
    Tick,
)
from bot.core.modes import Cause, Clearer
from bot.core.state import ERROR_QUIET_MS, State
from bot.sim.tick_exchange import TickExchange
from tests.support.states import NAMES
from tests.support.tick_driver import TickDriver, rows_of
from tests.support.worlds import DAY, MINUTE, START, Market, make_world, random_market

BARS = 120
SECOND = 1_000
FUNDING_EVERY = 20 * MINUTE

type Watch = Callable[[Event, list[Effect]], None]


@dataclass(frozen=True)
class Conditions:
    """Everything a run follows from."""

    seed: int
    symbols: int
    balance: float
    latency_ms: tuple[int, int]
    depth: int
    volatility: float
    gaps: float
    stops_refused: float = 0.0
    others_refused: float = 0.0
    """shares of the orders that get no further than a refusal"""
    events: tuple[tuple[int, int, str], ...] = ()
    """(bar, ms into it, what happens)"""


def conditions(*, faults: bool) -> st.SearchStrategy[Conditions]:
    kinds = ["kill", "halt", "close", "stale", "fresh", "unreachable", "reachable"]
    kinds += 3 * ["resume"]
    # Most of what goes wrong goes wrong around a decision, while orders are on their way.
    after_decision = st.one_of(st.integers(0, 2_000), st.integers(0, MINUTE - 1))
    happening = st.tuples(st.integers(20, BARS - 1), after_decision, st.sampled_from(kinds))
    return st.builds(
        Conditions,
        seed=st.integers(0, 10**6),
        symbols=st.integers(1, 3),
        balance=st.sampled_from([2_000.0, 10_000.0, 200_000.0]),
        latency_ms=st.sampled_from([(0, 0), (1, 30), (20, 800), (100, 4_000)]),
        depth=st.sampled_from([1, 3, 17, 1_000]),
        volatility=st.sampled_from([0.002, 0.005, 0.01]),
        gaps=st.sampled_from([0.0, 0.1]),
        stops_refused=st.sampled_from([0.0, 0.3, 0.95]) if faults else st.just(0.0),
        others_refused=st.sampled_from([0.0, 0.1]) if faults else st.just(0.0),
        events=st.lists(happening, max_size=10).map(lambda found: tuple(sorted(found)))
        if faults
        else st.just(()),
    )


def eager_world_params() -> Params:
    return Params(
        timeframe_ms=MINUTE,
        sample_ms=MINUTE,
        warmup_bars=20,
        momentum_alpha=0.15,
        momentum_entry=1.5,
        panic_ratio=20.0,
        trend_band=0.1,
        trend_adx=10.0,
        stop_min=0.005,
        stop_max=0.01,
        reversion_entry=1.0,
    )


def make_driver(case: Conditions, watch: Watch) -> TickDriver:
    params = eager_world_params()
    # Contracts worth a fiftieth of the account: positions of a few dozen contracts.
    multiplier = case.balance / 5_000.0
    specs = [Spec(multiplier, 0.01, 100.0, maintenance_rate=0.04) for _ in range(case.symbols)]
    start = START + DAY - BARS // 2 * MINUTE  # midnight is in the middle
    world = make_world(params=params, specs=specs, balance=case.balance, start_ms=start)
    state = State(world=world, symbols=NAMES[: case.symbols], installation="p", now_ms=start)
    exchange = TickExchange(
        params,
        specs,
        case.balance,
        seed=case.seed,
        latency_ms=case.latency_ms,
        depth=case.depth,
    )
    dice = Random(case.seed)

    def refuse(order: PlaceOrder) -> bool:
        stop = order.role is Role.STOP
        return dice.random() < (case.stops_refused if stop else case.others_refused)

    return TickDriver(state, exchange, refuse=refuse, watch=watch)


def make_market(case: Conditions) -> Market:
    start = START + DAY - BARS // 2 * MINUTE
    market = random_market(
        case.seed,
        case.symbols,
        BARS,
        timeframe_ms=MINUTE,
        volatility=case.volatility,
        gaps=case.gaps,
        start_ms=start,
    )
    times = range(start + FUNDING_EVERY, start + BARS * MINUTE + 1, FUNDING_EVERY)
    return market._replace(funding=[[(time, 0.0005) for time in times] for _ in market.candles])


def outside_event(kind: str, now: int) -> Event:
    match kind:
        case "kill" | "halt" | "resume":
            return Operator(now, Command(kind), "drill")
        case "close":
            return Operator(now, Command.CLOSE, "drill", symbol=0)
        case "stale" | "fresh":
            return Condition(now, Cause.STALE_DATA, kind == "stale")
    return Condition(now, Cause.EXCHANGE_UNREACHABLE, kind == "unreachable")


def play(case: Conditions, watch: Watch | None = None) -> TickDriver:
    """Run a case to its end and close what is open."""
    inspector: list[Inspector] = []

    def look(event: Event, effects: list[Effect]) -> None:
        if watch is not None:
            watch(event, effects)
        inspector[0].look(event, effects)

    driver = make_driver(case, look)
    inspector.append(Inspector(driver, case))
    rows = rows_of(make_market(case))
    for i, row in enumerate(rows):
        due = [outside_event(kind, row.open_ms + ms) for bar, ms, kind in case.events if bar == i]
        driver.run_bar(row, due)
    driver.refuse = lambda order: False
    driver.drain(120)
    driver.finish()
    driver.drain(600)
    inspector[0].look_at_the_end()
    return driver


class Inspector:
    """Looks at the exchange after each event and keeps what it needs from one look to the next."""

    def __init__(self, driver: TickDriver, case: Conditions) -> None:
        self.state = driver.state
        self.exchange = driver.exchange
        self.driver = driver
        self.case = case
        n = case.symbols
        self.sent: dict[str, PlaceOrder] = {}
        self.asked: set[str] = set()
        self.causes: dict[Cause, int] = {}
        self.held = [0.0] * n
        self.grown_ms = [0] * n
        self.open_since = [0] * n
        """since when the exchange's book has not covered the position, 0 for covered now"""
        self.exit_ms = [0] * n
        self.staying_since = [0] * n
        """since when FLATTEN has left the position without an exit, 0 for not at all"""
        self.limit = [0.0] * n
        """contracts approved for the present position"""

    def look(self, event: Event, effects: list[Effect]) -> None:
        orders = [effect for effect in effects if isinstance(effect, PlaceOrder)]
        self.check_ids(orders, [e.client_id for e in effects if isinstance(e, CancelOrder)])
        for order in orders:
            self.check_order(order)
        self.check_modes(event)
        for k in range(self.case.symbols):
            self.check_size(k)
            self.check_cover(k)
            self.check_flatten(k)
        if self.exchange.next_ms(self.state.now_ms + 1) > self.state.now_ms:
            self.check_agreement()

    def check_ids(self, orders: list[PlaceOrder], cancelled: list[str]) -> None:
        """No order has the id of another, and none is cancelled twice."""
        ids = [order.client_id for order in orders]
        assert len({*ids, *self.sent}) == len(ids) + len(self.sent)
        assert len({*cancelled, *self.asked}) == len(cancelled) + len(self.asked)
        self.sent.update(zip(ids, orders, strict=True))
        self.asked.update(cancelled)

    def check_order(self, order: PlaceOrder) -> None:
        """One entry at a time on a symbol, and none into a position; one exit at a time."""
        k = order.symbol
        live = [self.sent[name] for name in (*self.exchange.book.orders, *self.exchange.transit)]
        same = [o for o in live if o.symbol == k and o.role is order.role]
        if order.role is Role.ENTRY:
            assert self.exchange.ledger.held[k].side == FLAT
            assert same in ([], [order])
            self.limit[k] = order.contracts
        if order.role is Role.EXIT:
            assert same in ([], [order])
            self.exit_ms[k] = self.state.now_ms

    def check_size(self, k: int) -> None:
        held = self.exchange.ledger.held[k]
        assert 0.0 <= held.contracts <= self.limit[k]
        if held.contracts > self.held[k]:
            self.grown_ms[k] = self.state.now_ms
        self.held[k] = held.contracts

    def check_cover(self, k: int) -> None:
        """The exchange's own book covers the position, but for the way of a stop to it.

        Where orders are refused, the position is uncovered until the deadline and then on its way
        out. A tick comes each second, so that much is added.
        """
        now, book = self.state.now_ms, self.exchange.book
        resting = sum(book.left[stop.client_id] for stop in book.resting(k, Role.STOP))
        if resting >= self.held[k]:
            self.open_since[k] = 0
            return
        self.open_since[k] = self.open_since[k] or now
        if self.case.stops_refused == 0.0:
            assert now - self.grown_ms[k] <= self.case.latency_ms[1]
        elif now - self.open_since[k] > Params().uncovered_close_ms + SECOND:
            assert self.exit_is_on_its_way(k)

    def exit_is_on_its_way(self, k: int) -> bool:
        """Return whether an exit is live, or was sent within the last two seconds and refused."""
        live = (*self.exchange.book.orders, *self.exchange.transit)
        exits = [self.sent[name] for name in live if self.sent[name].role is Role.EXIT]
        recent = self.state.now_ms - self.exit_ms[k] <= 2 * SECOND
        return recent or any(order.symbol == k for order in exits)

    def check_flatten(self, k: int) -> None:
        """In FLATTEN a position never stays for more than two seconds without an exit."""
        now = self.state.now_ms
        staying = self.state.modes.mode == FLATTEN and self.held[k] > 0.0
        if not staying or self.exit_is_on_its_way(k):
            self.staying_since[k] = 0
        else:
            self.staying_since[k] = self.staying_since[k] or now
            assert now - self.staying_since[k] <= 2 * SECOND

    def check_modes(self, event: Event) -> None:
        """Any cause may come; one that goes was taken back by the party its rule names."""
        causes = dict(self.state.modes.causes)
        for cause in self.causes.keys() - causes.keys():
            match cause.clearer:
                case Clearer.PERSON:
                    assert isinstance(event, Operator)
                    assert event.command is Command.RESUME
                case Clearer.CONDITION:
                    assert isinstance(event, Condition)
                    assert (event.cause, event.active) == (cause, False)
                case Clearer.NEXT_DAY:
                    assert isinstance(event, Cycle)
                    assert event.now_ms // DAY > self.causes[cause] // DAY
                case Clearer.QUIET_TIME:
                    assert isinstance(event, Cycle | Tick)
                    assert event.now_ms - self.state.last_error_ms >= ERROR_QUIET_MS
        assert self.state.modes.mode == max((cause.mode for cause in causes), default=0)
        self.causes = causes

    def check_agreement(self) -> None:
        """Nothing is under way to us: both sides know the same positions and the same money."""
        for k, held in enumerate(self.exchange.ledger.held):
            pos = self.state.world.positions[k]
            assert (pos.side, pos.contracts) == (held.side, held.contracts)
            assert pos.entry_price == pytest.approx(held.entry_price, rel=1e-12)
            if held.side == FLAT:
                assert self.exchange.book.reduce_only(k) == []
        account = self.state.world.account
        ours = account.deposits + account.realised - account.fees + account.funding
        tolerance = IDENTITY_TOLERANCE * max(1.0, abs(ours) / 1e4)
        assert abs(ours - self.exchange.ledger.wallet) <= tolerance

    def look_at_the_end(self) -> None:
        """Flat, agreed, and nothing of ours anywhere."""
        self.check_agreement()
        assert self.held == [0.0] * self.case.symbols
        assert self.exchange.book.orders == {}
        assert self.exchange.transit == {}
        assert self.state.orders == {}


@settings(max_examples=60)
@given(case=conditions(faults=False))
def test_a_position_is_covered_from_the_first_acknowledged_stop_on(case: Conditions) -> None:
    play(case)


@settings(max_examples=60)
@given(case=conditions(faults=True))
def test_refusals_and_people_break_no_promise(case: Conditions) -> None:
    play(case)


def test_the_runs_above_are_eventful() -> None:
    seen: set[str] = set()

    def watch(event: Event, effects: list[Effect]) -> None:
        seen.add(type(event).__name__)
        seen.update(effect.role.value for effect in effects if isinstance(effect, PlaceOrder))

    trades = 0
    for seed in (1, 2, 6):
        case = Conditions(seed, 3, 200_000.0, (20, 800), 3, 0.005, 0.1, 0.1, 0.1)
        trades += play(case, watch).trades
    assert trades >= 20
    assert seen >= {"entry", "exit", "stop", "target"}
    assert seen >= {"Liquidated", "FundingSettled", "OrderRejected", "OrderCancelled", "Tick"}


def test_equal_conditions_give_equal_runs() -> None:
    case = Conditions(7, 2, 10_000.0, (20, 800), 3, 0.01, 0.1, 0.1, 0.1, ((80, 0, "halt"),))
    one, two = play(case), play(case)
    assert one.state.digest() == two.state.digest()
    assert one.notices == two.notices
    assert one.events == two.events
