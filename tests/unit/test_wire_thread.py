"""The thread of the wire: who waits for it says so, and waits no longer than it said."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bot.adapters import wire_thread
from bot.adapters.wire_thread import WireThread


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[WireThread]:
    monkeypatch.setattr(wire_thread, "WAITING_S", 0.01)
    made = WireThread()
    yield made
    made.close()


def test_who_waits_says_so_again_and_again(wire: WireThread) -> None:
    said: list[int] = []
    ended = asyncio.Event()

    def waits() -> None:
        said.append(1)
        if len(said) == 3:
            wire.loop.call_soon_threadsafe(ended.set)

    async def work() -> str:
        await ended.wait()
        return "done"

    wire.waiting = waits
    assert wire.run(work(), 60.0) == "done"
    assert len(said) == 3


def test_what_takes_too_long_is_given_up(wire: WireThread) -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def see() -> bool:
        return await asyncio.wait_for(cancelled.wait(), 60.0)

    with pytest.raises(TimeoutError):
        wire.run(work(), 0.05)
    assert wire.run(see(), 60.0)


def test_a_failure_of_the_work_is_its_own(wire: WireThread) -> None:
    async def work() -> None:
        raise TimeoutError("of the work itself")

    with pytest.raises(TimeoutError, match="of the work itself"):
        wire.run(work(), 60.0)


def test_a_bug_in_work_that_nobody_waits_for_is_in_the_log(
    wire: WireThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise LookupError

    async def nothing() -> None: ...

    wire.begin(work())
    wire.run(nothing(), 60.0)
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


def test_what_is_done_last_finds_no_other_work(wire: WireThread) -> None:
    """A socket that is opened anew meanwhile would be left behind."""
    found = []

    async def count() -> None:
        found.append(len(asyncio.all_tasks()))

    wire.begin(asyncio.sleep(3600.0))
    wire.close(count)
    wire.close(count)
    assert found == [1]
    assert not wire.thread.is_alive()


def test_work_that_does_not_end_keeps_nothing_from_being_done_last(
    wire: WireThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_thread, "STOP_S", 0.05)
    ended = asyncio.Event()

    async def stubborn() -> None:
        while not ended.is_set():
            with suppress(asyncio.CancelledError):
                await ended.wait()

    async def last() -> None:
        ended.set()

    wire.begin(stubborn())
    wire.close(last)
    assert ended.is_set()
    assert not wire.thread.is_alive()


def test_the_thread_ends_whatever_is_done_last(wire: WireThread) -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        wire.close(fail)
    assert not wire.thread.is_alive()


def test_work_that_is_cancelled_at_the_end_is_no_failure(
    wire: WireThread, caplog: pytest.LogCaptureFixture
) -> None:
    begun = wire.begin(asyncio.sleep(3600.0))
    wire.close()
    assert begun.cancelled()
    assert not caplog.records
