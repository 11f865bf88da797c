"""An asyncio loop in a thread of its own: ccxt is asynchronous, the trading loop is not.

The trading loop starts work here and collects results; it never waits inside a decision.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

log = logging.getLogger("radbot.exchange")
STOP_S = 5.0
WAITING_S = 1.0


class WireThread:
    """Runs coroutines; `close` cancels what is left of them."""

    def __init__(self) -> None:
        self.waiting: Callable[[], None] = lambda: None
        """called about once a second while somebody waits for an answer"""
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start[T](
        self, work: Coroutine[Any, Any, T], wake: Callable[[], None] | None = None
    ) -> "Future[T]":
        """Begin `work` and return at once; `wake` is called, in any thread, when it is done."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        if wake is not None:
            future.add_done_callback(lambda _: wake())
        return future

    def begin(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        """Start work whose end nobody waits for. It sees to its own failures: what it raises all
        the same is a bug, and would be lost without a line in the log."""
        future = self.start(work)
        future.add_done_callback(_log_failure)
        return future

    def run[T](self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Do `work` and wait for it. Raises TimeoutError, and what `work` raises."""
        return self.wait(self.start(work), timeout_s)

    def wait[T](self, future: "Future[T]", timeout_s: float) -> T:
        """Return the result of what was started; cancel it after `timeout_s`. Raises as `run`."""
        end = time.monotonic() + timeout_s
        while True:
            left_s = end - time.monotonic()
            try:
                return future.result(max(0.0, min(left_s, WAITING_S)))
            except TimeoutError:
                if future.done():
                    return future.result()  # it came just now, or raises itself
                if left_s <= WAITING_S:
                    future.cancel()
                    raise
            self.waiting()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """End every task, do `last`, then end the thread: with the tasks gone, nobody opens anew
        what `last` closes."""
        if self.loop.is_closed():
            return
        try:
            with suppress(TimeoutError):
                self.run(_cancel_all(), STOP_S)
            if last is not None:  # also where a task does not end
                with suppress(TimeoutError):
                    self.run(last(), STOP_S)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(STOP_S)
            if not self.thread.is_alive():
                self.loop.close()


def _log_failure(future: "Future[None]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("wire: work that nobody waits for has failed", exc_info=error)


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
