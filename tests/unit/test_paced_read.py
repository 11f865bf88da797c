"""A read that nobody waits for: one at a time, late ones given up, pauses that grow and end."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from bot.adapters.paced_read import FIRST_PAUSE_S, LONGEST_PAUSE_S, READ_S, PacedRead
from bot.adapters.wire_thread import WireThread
from bot.core.errors import UnreachableError


class Desk:
    """A read, a clock that is moved by hand, and what the exchange answers."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.wire = WireThread()
        self.woken = 0
        self.read: PacedRead[str] = PacedRead(self.wire, self.wake, Random(1), lambda: self.now_s)

    def wake(self) -> None:
        self.woken += 1

    async def answer(self, text: str) -> str:
        if not text:
            raise UnreachableError("HTTP 503")
        return text

    def ask(self, text: str) -> str | None:
        """Read, and let the answer come."""
        self.read.begin(self.answer(text))
        pending = self.read.pending
        assert pending is not None
        pending.exception(5.0)
        return self.read.take()

    def pause_s(self) -> float:
        """Return how long after a failure the next read may begin."""
        failed_s = self.now_s
        while not self.read.may_begin():
            self.now_s += 0.01
        return self.now_s - failed_s


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.wire.close()


def test_what_was_read_is_taken_once_and_the_loop_is_woken(desk: Desk) -> None:
    assert desk.read.may_begin()
    assert desk.ask("flat") == "flat"
    assert desk.woken == 1
    assert desk.read.pending is None
    assert desk.read.may_begin()


def test_a_read_under_way_is_not_waited_for(desk: Desk) -> None:
    event = asyncio.Event()
    desk.read.begin(event.wait())  # type: ignore[arg-type]
    assert desk.read.take() is None
    reading = desk.read.pending
    assert reading is not None
    desk.now_s += READ_S + 0.1
    with pytest.raises(UnreachableError, match="not read within 15 s"):
        desk.read.take()
    assert reading.cancelled()
    assert desk.read.pending is None
    assert not desk.read.may_begin()


def test_pauses_grow_to_the_longest_and_start_anew_after_a_success(desk: Desk) -> None:
    pauses = []
    for _ in range(8):
        with pytest.raises(UnreachableError, match="503"):
            desk.ask("")
        pauses.append(desk.pause_s())
    wanted = [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(8)]
    shares = [pause / want for pause, want in zip(pauses, wanted, strict=True)]
    assert all(0.5 <= share <= 1.55 for share in shares), shares
    assert max(shares) - min(shares) > 0.2  # bots that fail together do not come back together
    assert desk.ask("flat") == "flat"
    with pytest.raises(UnreachableError):
        desk.ask("")
    assert desk.pause_s() <= 1.55 * FIRST_PAUSE_S


def test_who_is_in_a_hurry_waits_less(desk: Desk) -> None:
    for _ in range(8):
        with pytest.raises(UnreachableError):
            desk.ask("")
    desk.now_s += 2.0
    assert not desk.read.may_begin()
    assert desk.read.may_begin(2.0)
    assert not desk.read.may_begin(2.5)
    with desk.read.waited_for():
        assert desk.read.may_begin()
    assert not desk.read.may_begin()


def test_the_patient_wait_for_the_answer(desk: Desk) -> None:
    async def slow() -> str:
        await asyncio.sleep(0.05)
        return "flat"

    with desk.read.waited_for():
        desk.read.begin(slow())
        assert desk.read.take() == "flat"
