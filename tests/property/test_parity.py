"""L1: replay, step with the simulated exchange, and the compiled form agree in every bit."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.kernel.codes import MOMENTUM, REVERSION, TREND
from bot.core.kernel.records import Params, World
from tests.support.paper import run_paper
from tests.support.worlds import (
    Market,
    Run,
    make_spec,
    make_world,
    random_market,
    reference_world,
    run_compiled,
    run_plain,
    state_text,
)

# What may differ: how often the identity was looked at, and the leftovers of intents that are done.
NOT_COMPARED = ("intents",)


def state(world: World) -> list[str]:
    """Return the state that must be equal, one line for each part."""
    account = replace(world.account, identity_error=0.0)
    rows = state_text(world._replace(account=account))
    return [row for row in rows if not row.startswith(NOT_COMPARED)]


def assert_equal_runs(one: Run, other: Run) -> None:
    assert one.trades == other.trades
    assert one.curve == other.curve
    assert state(one.world) == state(other.world)
    assert one.world.account.identity_error <= 1.0
    assert other.world.account.identity_error <= 1.0


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Random markets of one to five symbols, from calm to violent, with holes, gaps and late
    starts."""
    return random_market(
        seed=draw(st.integers(0, 10_000)),
        symbols=draw(st.integers(1, 5)),
        bars=draw(st.sampled_from([120, 400])),
        timeframe_ms=draw(st.sampled_from([60_000, 900_000, 3_600_000, 14_400_000])),
        volatility=draw(st.sampled_from([0.002, 0.008, 0.03])),
        shared=draw(st.sampled_from([0.0, 0.5, 0.95])),
        holes=draw(st.sampled_from([0.0, 0.05, 0.5])),
        gaps=draw(st.sampled_from([0.0, 0.1])),
        late=draw(st.booleans()),
    )


@st.composite
def parameters(draw: st.DrawFn, timeframe_ms: int) -> Params:
    """Parameters that trade often; the breakers are sometimes far away, sometimes close."""
    loose = draw(st.booleans())
    return Params(
        timeframe_ms=timeframe_ms,
        sample_ms=max(timeframe_ms, 3_600_000),
        warmup_bars=draw(st.sampled_from([5, 40])),
        trend_band=draw(st.sampled_from([0.2, 0.5])),
        trend_adx=draw(st.sampled_from([10.0, 22.0])),
        momentum_entry=draw(st.sampled_from([0.5, 1.5])),
        reversion_entry=draw(st.sampled_from([1.0, 2.0])),
        trail_start=draw(st.sampled_from([0.2, 1.0])),
        slippage=draw(st.sampled_from([0.0, 0.0003])),
        max_positions=draw(st.integers(1, 4)),
        correlation_min_samples=draw(st.sampled_from([2, 24])),
        daily_loss_limit=0.9 if loose else 0.04,
        drawdown_limit=0.95 if loose else 0.08,
        fast_drawdown_limit=0.95 if loose else 0.05,
    )


@st.composite
def runs(draw: st.DrawFn) -> tuple[Market, Params, tuple[int, ...], float, float]:
    market = draw(markets())
    params = draw(parameters(market.timeframe_ms))
    kinds = draw(st.permutations([TREND, MOMENTUM, REVERSION]))
    count = draw(st.integers(1, 3))
    balance = draw(st.sampled_from([150.0, 10_000.0, 400_000.0]))
    tick = draw(st.sampled_from([0.01, 0.1, 0.5]))
    return market, params, tuple(kinds[:count]), balance, tick


def build(drawn: tuple[Market, Params, tuple[int, ...], float, float]) -> World:
    market, params, kinds, balance, tick = drawn
    specs = [make_spec(tick=tick) for _ in market.candles]
    return make_world(params=replace(params), strategies=kinds, specs=specs, balance=balance)


@settings(max_examples=120)
@given(runs())
def test_step_with_the_exchange_equals_replay(
    drawn: tuple[Market, Params, tuple[int, ...], float, float],
) -> None:
    assert_equal_runs(run_plain(build(drawn), drawn[0]), run_paper(build(drawn), drawn[0]))


@settings(max_examples=60)
@given(runs())
def test_compiled_equals_plain(
    drawn: tuple[Market, Params, tuple[int, ...], float, float],
) -> None:
    assert_equal_runs(run_plain(build(drawn), drawn[0]), run_compiled(build(drawn), drawn[0]))


@settings(max_examples=30)
@given(markets())
def test_the_reference_profile_is_the_same_in_all_three(market: Market) -> None:
    def world() -> World:
        return reference_world(len(market.candles), timeframe_ms=market.timeframe_ms)

    plain = run_plain(world(), market)
    assert_equal_runs(plain, run_paper(world(), market))
    assert_equal_runs(plain, run_compiled(world(), market))


def test_the_random_runs_are_not_empty() -> None:
    """The properties above would hold for a market that never trades; these numbers show it
    does."""
    params = Params(warmup_bars=5, trend_band=0.2, momentum_entry=0.5, reversion_entry=1.0)
    market = random_market(seed=3, symbols=4, bars=400, volatility=0.008, holes=0.05)
    params.drawdown_limit = params.fast_drawdown_limit = params.daily_loss_limit = 0.95
    run = run_paper(make_world(4, params=params), market)
    assert len(run.trades) >= 30
    assert len({trade.reason for trade in run.trades}) >= 3
    assert len({trade.strategy for trade in run.trades}) == 3
