"""The compiled loop is the plain one to the bit; pieces and the future change nothing."""

import dataclasses
import random
import shutil
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.kernel import replay as kernel_replay
from bot.core.kernel.codes import LIQUIDATION, STOP, TARGET
from bot.core.kernel.records import Account, Trade, World
from ops.research import compiled as compiling
from ops.research.compiled import (
    cache_root,
    compiled,
    kernel_hash,
    plain_array,
    read_back,
    record_array,
    record_dtype,
    to_arrays,
)
from tests.support.cases import CASES, Case, case_market, case_world
from tests.support.worlds import (
    Market,
    Run,
    cycle_count,
    first_cycle,
    make_world,
    random_market,
    reference_world,
    run_compiled,
    run_cycles,
    run_plain,
    state_text,
)


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> None:
    """Compile before the first example, so that no example's time is the compiler's."""
    run_compiled(reference_world(), random_market(0, 1, 60))


def assert_same(one: Run, other: Run) -> None:
    """Assert equality of all floats to the bit and of all types: repr shows both."""
    assert [repr(t) for t in one.trades] == [repr(t) for t in other.trades]
    assert [value.hex() for value in one.curve] == [value.hex() for value in other.curve]
    assert state_text(one.world) == state_text(other.world)


@settings(max_examples=200)
@given(case=CASES)
def test_compiled_is_plain(case: Case) -> None:
    market = case_market(case)
    assert_same(run_compiled(case_world(case), market), run_plain(case_world(case), market))


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    symbols=st.integers(1, 3),
    timeframe=st.sampled_from([60_000, 900_000, 3_600_000, 14_400_000]),
)
def test_compiled_is_plain_in_profile_reference(seed: int, symbols: int, timeframe: int) -> None:
    market = random_market(
        seed, symbols, 300, timeframe_ms=timeframe, volatility=0.01, holes=0.05, gaps=0.1, late=True
    )
    plain = run_plain(reference_world(symbols, timeframe_ms=timeframe), market)
    assert_same(run_compiled(reference_world(symbols, timeframe_ms=timeframe), market), plain)
    assert plain.trades


@settings(max_examples=25)
@given(case=CASES, piece=st.integers(1, 40), spare=st.integers(0, 5))
def test_a_run_in_pieces_is_the_run_in_one(case: Case, piece: int, spare: int) -> None:
    """Whatever the caller asks for at once and however small its buffer for trades is."""
    market, room = case_market(case), 2 * case.symbols + spare
    whole = run_plain(case_world(case), market, room=10_000)
    assert_same(run_plain(case_world(case), market, room=room, piece=piece), whole)
    assert_same(run_compiled(case_world(case), market, room=room, piece=piece), whole)


def advanced(world: World, market: Market, cycles: int) -> tuple[World, list[Trade]]:
    """Run the first cycles of a market; return the world then and the trades so far."""
    trades = [t for _, done in run_cycles(world, market, cycles) for t in done]
    return world, trades


def with_another_future(market: Market, time: int, rng: random.Random) -> Market:
    """Return the market with all that is not known at `time`, its open included, made anew."""
    candles = [
        [
            c
            if c.time < time
            else c._replace(high=9e9, low=1e-3, close=rng.random())
            if c.time == time
            else c._replace(open=rng.random(), high=9e9, low=1e-9, close=rng.random())
            for c in series
            if c.time <= time or rng.random() < 0.5
        ]
        for series in market.candles
    ]
    funding = [
        [(t, rate if t <= time else rng.random()) for t, rate in payments]
        for payments in market.funding
    ]
    return Market(market.timeframe_ms, candles, funding)


@settings(max_examples=50)
@given(case=CASES, share=st.floats(0.1, 0.95))
def test_nothing_depends_on_the_future(case: Case, share: float) -> None:
    """Everything up to T is the same whatever follows; the fills at T know the open at T only."""
    market = case_market(case)
    cycles = max(int(share * cycle_count(market)), 1)
    time = first_cycle(market) + (cycles - 1) * market.timeframe_ms
    world, trades = advanced(case_world(case), market, cycles)
    other = with_another_future(market, time, random.Random(case.seed))
    other_world, other_trades = advanced(case_world(case), other, cycles)
    assert other_trades == trades
    assert state_text(other_world) == state_text(world)


@settings(max_examples=50)
@given(case=CASES, share=st.floats(0.1, 0.95))
def test_decisions_are_the_same_when_all_that_follows_is_removed(case: Case, share: float) -> None:
    market = case_market(case)
    cycles = max(int(share * cycle_count(market)), 1)
    time = first_cycle(market) + (cycles - 1) * market.timeframe_ms
    past = Market(
        market.timeframe_ms,
        [[c for c in series if c.time < time] for series in market.candles],
        [[(t, rate) for t, rate in payments if t <= time] for payments in market.funding],
    )
    world, trades = advanced(case_world(case), market, cycles)
    past_world, past_trades = advanced(case_world(case), past, cycles)
    # Fills at the open of the bar that begins at T are not there yet; all that led to them is.
    known = [t for t in trades if t.exit_time < time or t.reason in (STOP, TARGET, LIQUIDATION)]
    assert past_trades == known
    for name in ("symbols", "wishes", "verdicts", "returns", "samples", "window_equity"):
        assert getattr(past_world, name) == getattr(world, name)
    for name in ("equity", "peak_equity", "killed_at", "daily_locked", "tier", "day_equity"):
        assert getattr(past_world.account, name) == getattr(world.account, name)
    for kind in ("opposite", "owned", "cap", "correlated"):
        name = f"collisions_{kind}"
        assert getattr(past_world.account, name) == getattr(world.account, name)


def key_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(kernel_replay, "__file__", str(folder / "replay.py"))
    return kernel_hash()


def test_the_cache_key_follows_every_kernel_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a callee's file: the compiler's own cache would go on running the old rule."""
    original = Path(kernel_replay.__file__).parent
    before = kernel_hash()
    folder = tmp_path / "kernel"
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert key_of(folder, monkeypatch) == before
    keys = {before}
    for source in sorted(folder.glob("*.py")):
        text = source.read_bytes()
        source.write_bytes(text + b"# changed\n")
        keys.add(key_of(folder, monkeypatch))
        source.write_bytes(text)
    assert len(keys) == 1 + len(list(folder.glob("*.py")))
    (folder / "added.py").write_text("")
    keys.add(key_of(folder, monkeypatch))
    assert len(keys) == 2 + len(list(original.glob("*.py")))


def test_the_cache_lies_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "radbot"
    monkeypatch.setenv("RADBOT_CACHE_DIR", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"


def test_neither_fastmath_nor_parallel_is_on() -> None:
    """Both change results."""
    assert not compiling.OPTIONS.keys() & {"fastmath", "parallel"}


@pytest.mark.parametrize("kind", [bool, str, list, "int", int | None])
def test_a_record_of_anything_but_ints_and_floats_is_refused(kind: object) -> None:
    record = dataclasses.make_dataclass("Wrong", [("fine", int), ("odd", kind)])
    with pytest.raises(TypeError, match=r"Wrong\.odd: expected int or float"):
        record_dtype(record)


def test_records_become_rows_in_the_order_of_their_fields() -> None:
    rows = record_array([Account(deposits=0.1, day=2**53 + 1), Account(tier=3)])
    assert rows.dtype.names == tuple(f.name for f in dataclasses.fields(Account))
    assert rows.tolist() == [
        dataclasses.astuple(Account(deposits=0.1, day=2**53 + 1)),
        dataclasses.astuple(Account(tier=3)),
    ]
    assert {rows.dtype[i] for i in range(len(rows.dtype))} == {np.dtype("i8"), np.dtype("f8")}


def test_to_arrays_copies_and_read_back_restores() -> None:
    market = random_market(3, 2, 300)
    world = run_plain(make_world(2), market, close=False).world
    arrays, text = to_arrays(world), state_text(world)
    arrays.account["cash"] += 1.0
    arrays.returns[:] = 7.0
    assert state_text(world) == text
    read_back(world, to_arrays(world))
    assert state_text(world) == text
    read_back(world, arrays)
    assert world.returns == [7.0] * len(world.returns)


def test_arrays_share_memory_and_lists_keep_their_type() -> None:
    memory = array("d", [1.0, 2.0])
    view = plain_array(memory)
    memory[0] = 5.0
    assert view.tolist() == [5.0, 2.0]
    assert plain_array(array("q", [1, 2])).dtype == np.int64
    assert plain_array([1, 2]).dtype == np.int64
    assert plain_array([1.0, 2.0]).dtype == np.float64


def test_there_is_no_compiled_form_of_other_functions() -> None:
    with pytest.raises(KeyError):
        compiled("no_such_function")
