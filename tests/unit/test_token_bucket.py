"""The request budget, in a loop whose time jumps to the next timer: nothing here really waits."""

import asyncio
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.token_bucket import (
    JITTER,
    MOST_WAITING,
    RESERVE,
    SLOT_S,
    TRY_S,
    Priority,
    TokenBucket,
)
from bot.core.errors import InvariantError, UnreachableError

REDUCE, ACCOUNT, ENTRY, MARKET = Priority
WINDOW_S = 30.0
LIMIT = 1000
SHARE = LIMIT - int(RESERVE * LIMIT)


class JumpingSelector(selectors.SelectSelector):
    """Moves the clock by what it was asked to wait."""

    now = 100.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing would ever happen again"
        self.now += max(timeout, 0.0)
        return super().select(0.0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self.clock = JumpingSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run[T](main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def new_bucket(limit: int = LIMIT) -> TokenBucket:
    return TokenBucket(limit, WINDOW_S, monotonic=now, rng=Random(1))


async def waited(bucket: TokenBucket, weight: int, priority: Priority) -> float:
    """Return how long a request waits."""
    began = now()
    await bucket.take(weight, priority)
    return now() - began


def test_there_is_no_waiting_while_there_is_room() -> None:
    async def main() -> None:
        bucket = new_bucket()
        assert bucket.level == 1.0
        for priority in (MARKET, ENTRY, ACCOUNT, REDUCE):
            assert await waited(bucket, 200, priority) == 0.0
        assert bucket.level == pytest.approx(0.2)
        assert bucket.waiting == 0

    run(main())


def test_what_was_taken_comes_back_after_a_window() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(SHARE, MARKET)
        assert bucket.wait_s(1, MARKET) == pytest.approx(WINDOW_S, abs=SLOT_S)
        assert WINDOW_S <= await waited(bucket, 1, MARKET) <= WINDOW_S + SLOT_S
        assert bucket.level == pytest.approx(1.0 - 1 / LIMIT)

    run(main())


def test_the_reserve_is_for_reducing_risk_alone() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(SHARE, ACCOUNT)
        assert await waited(bucket, LIMIT - SHARE, REDUCE) == 0.0
        assert bucket.level == 0.0
        assert await waited(bucket, 1, REDUCE) >= WINDOW_S

    run(main())


def test_the_more_important_goes_first_and_then_the_earlier() -> None:
    async def main() -> list[str]:
        bucket, order = new_bucket(), []
        await bucket.take(LIMIT, REDUCE)

        async def ask(name: str, weight: int, priority: Priority) -> None:
            await bucket.take(weight, priority)
            order.append(name)

        async with asyncio.TaskGroup() as group:
            for name, weight, priority in (
                ("market", 1, MARKET),
                ("entry", 1, ENTRY),
                ("large read", SHARE, ACCOUNT),
                ("read", 1, ACCOUNT),
                ("stop", 1, REDUCE),
                ("exit", 1, REDUCE),
            ):
                group.create_task(ask(name, weight, priority))
        return order

    # The large read is not overtaken by the small ones that would fit before it.
    assert run(main()) == ["stop", "exit", "large read", "read", "entry", "market"]


def test_the_exchange_knows_of_requests_that_were_not_ours() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(100, ACCOUNT)
        bucket.told(LIMIT, 900, 25_000)  # as we have it
        assert bucket.level == pytest.approx(0.9)
        bucket.told(LIMIT, 950, 25_000)  # it has not counted everything yet
        assert bucket.level == pytest.approx(0.9)
        bucket.told(LIMIT, 50, 10_000)
        assert bucket.level == pytest.approx(0.05)
        assert await waited(bucket, 1, ACCOUNT) == pytest.approx(10.0, abs=SLOT_S)
        bucket.told(LIMIT, -5, 10**12)
        assert bucket.level == 0.0
        assert await waited(bucket, 1, REDUCE) <= WINDOW_S + SLOT_S

    run(main())


def test_a_neighbour_who_reads_the_market_holds_up_no_stop() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(100, ACCOUNT)
        bucket.told(LIMIT, 0, 10_000, public=True)
        assert bucket.level == pytest.approx(1.0 - SHARE / LIMIT)
        assert await waited(bucket, LIMIT - SHARE, REDUCE) == 0.0
        assert await waited(bucket, 1, MARKET) > 0.0

    run(main())


def test_a_smaller_pool_is_believed_and_nonsense_is_not() -> None:
    async def main() -> None:
        bucket = new_bucket()
        bucket.told(400, 400, 30_000)
        assert bucket.limit == 400
        bucket.told(0, 0, 0)
        bucket.told(1, 1, -5)
        assert bucket.limit == 400
        await bucket.take(1, REDUCE)
        # More than there ever is goes out when everything is free.
        assert await waited(bucket, 800, REDUCE) == pytest.approx(WINDOW_S, abs=SLOT_S)
        bucket.told(7_000, 7_000, 30_000)
        assert bucket.limit == LIMIT

    run(main())


def test_a_block_holds_everything_for_a_jittered_time() -> None:
    async def main() -> None:
        bucket = new_bucket()
        bucket.block(10.0)
        assert bucket.level == 0.0
        bucket.block(-1.0)
        length = await waited(bucket, 1, ENTRY)
        assert length == pytest.approx(10.0 * (1.0 + JITTER * Random(1).random()))
        bucket.block(1e9)
        assert await waited(bucket, 1, MARKET) <= 60.0 * (1.0 + JITTER) + 0.01

    run(main())


def test_one_urgent_request_at_a_time_tries_through_a_block() -> None:
    async def main() -> list[tuple[str, float, bool]]:
        bucket, out = new_bucket(), []
        await bucket.take(1, MARKET)
        bucket.block(30.0)
        began = now()

        async def ask(name: str, priority: Priority) -> None:
            trying = await bucket.take(1, priority)
            out.append((name, now() - began, trying))

        async with asyncio.TaskGroup() as group:
            for name, priority in (
                ("entry", ENTRY),
                ("read", ACCOUNT),
                ("second read", ACCOUNT),
                ("stop", REDUCE),
            ):
                group.create_task(ask(name, priority))
            await asyncio.sleep(3.0 * TRY_S - 0.5)
            bucket.block(30.0)  # the read was refused, too
            await asyncio.sleep(0.1)
            group.create_task(ask("exit", REDUCE))
            await asyncio.sleep(TRY_S)
            bucket.unblock()  # and the exit was answered
        return out

    out = run(main())
    assert [(name, trying) for name, _, trying in out] == [
        ("stop", True),
        ("read", True),
        ("exit", True),
        ("second read", False),
        ("entry", False),
    ]
    free_s = 4.0 * TRY_S - 0.4
    times = [TRY_S, 2.0 * TRY_S, free_s - 0.1, free_s, free_s]
    assert [after_s for _, after_s, _ in out] == pytest.approx(times)


def test_who_gives_up_leaves_no_trace() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(SHARE - 100, ACCOUNT)
        large = asyncio.create_task(bucket.take(SHARE, ACCOUNT))
        small = asyncio.create_task(waited(bucket, 50, MARKET))
        await asyncio.sleep(1.0)
        assert bucket.waiting == 2
        large.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large
        assert await small == 1.0  # there was room for it all the time
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await bucket.take(SHARE, ACCOUNT)
        assert bucket.waiting == 0
        await asyncio.sleep(2.0 * WINDOW_S)
        assert bucket.level == 1.0

    run(main())


def test_who_waits_too_long_is_refused_and_leaves_no_trace() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(SHARE - 100, ACCOUNT)
        small = asyncio.create_task(waited(bucket, 50, MARKET))
        began = now()
        with pytest.raises(UnreachableError, match="budget is used up"):
            await bucket.take(SHARE, ENTRY, within_s=2.0)
        assert now() - began == pytest.approx(2.0)
        assert await small == pytest.approx(2.0)
        assert bucket.waiting == 0
        await bucket.take(1, REDUCE, within_s=0.0)  # at once, or not at all
        bucket.block(5.0)
        with pytest.raises(UnreachableError):
            await bucket.take(1, REDUCE, within_s=0.0)

    run(main())


def test_who_is_cancelled_at_the_moment_of_its_turn_takes_nothing() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(LIMIT, REDUCE)
        late = asyncio.create_task(bucket.take(500, REDUCE))
        await asyncio.sleep(0.0)
        clock = asyncio.get_running_loop()
        assert isinstance(clock, JumpingLoop)
        clock.clock.now += 2.0 * WINDOW_S  # its turn, but nobody has had time to say so
        late.cancel()
        assert await waited(bucket, 1, REDUCE) == 0.0
        assert bucket.level == pytest.approx(1.0 - 1 / LIMIT)
        assert bucket.waiting == 0

    run(main())


def test_the_queue_is_bounded() -> None:
    async def main() -> None:
        bucket = new_bucket()
        await bucket.take(LIMIT, REDUCE)
        tasks = [asyncio.create_task(bucket.take(1, MARKET)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0.0)
        with pytest.raises(UnreachableError, match="500 requests wait"):
            await bucket.take(1, ACCOUNT)
        assert await waited(bucket, 1, REDUCE) <= WINDOW_S + SLOT_S  # still let in
        await asyncio.gather(*tasks)

    run(main())


def test_a_request_has_a_weight() -> None:
    async def main() -> None:
        await new_bucket().take(0, ACCOUNT)

    with pytest.raises(InvariantError, match="weight of 1 or more"):
        run(main())


def test_memory_is_bounded() -> None:
    async def main() -> int:
        bucket = new_bucket()
        for i in range(5_000):
            await bucket.take(1, MARKET)
            bucket.told(LIMIT, 900 - i % 7, 30_000 - i)
            await asyncio.sleep(0.03)
        return len(bucket._taken)

    assert run(main()) <= WINDOW_S / SLOT_S + 2


@dataclass
class Request:
    after_s: float
    weight: int
    priority: Priority
    arrived: float = 0.0
    granted: float = 0.0


REQUESTS = st.lists(
    st.builds(
        Request,
        after_s=st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.5, 3.0, 29.9, 40.0]),
        weight=st.sampled_from([1, 2, 20, 50, 100, 200, 400]),
        priority=st.sampled_from(Priority),
    ),
    min_size=1,
    max_size=40,
)


def played(requests: list[Request]) -> list[Request]:
    """Return the requests in the order in which they went out, with their times."""

    async def main() -> list[Request]:
        bucket, out = new_bucket(), []

        async def ask(request: Request) -> None:
            request.arrived = now()
            await bucket.take(request.weight, request.priority)
            request.granted = now()
            out.append(request)

        async with asyncio.TaskGroup() as group:
            for request in requests:
                await asyncio.sleep(request.after_s)
                group.create_task(ask(request))
        return out

    return run(main())


def used(out: list[Request], until: int, only: Priority | None = None) -> int:
    """Return the weight that went out in the window that ends with the request `until`."""
    end = out[until].granted
    return sum(
        request.weight
        for request in out[: until + 1]
        if request.granted > end - WINDOW_S and only in (None, request.priority)
    )


@settings(max_examples=200)
@given(requests=REQUESTS)
def test_the_budget_holds_in_every_window_and_everybody_gets_a_turn(
    requests: list[Request],
) -> None:
    out = played(requests)
    assert len(out) == len(requests)
    for i, request in enumerate(out):
        reduces = request.priority is REDUCE
        assert used(out, i) <= (LIMIT if reduces else SHARE)
        if reduces and used(out, i, REDUCE) <= LIMIT - SHARE:
            assert request.granted == request.arrived
        # Nobody goes before somebody more important, or before an equal who came earlier.
        for other in out[i + 1 :]:
            if other.arrived < request.granted:
                assert (request.priority, request.arrived) <= (other.priority, other.arrived)
    longest = (sum(request.weight for request in out) // (LIMIT // 4) + 2) * (WINDOW_S + SLOT_S)
    assert all(request.granted - request.arrived <= longest for request in out)
