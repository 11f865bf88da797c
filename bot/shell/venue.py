"""The port to an exchange: what the engine needs of it, whether it is simulated or real."""

from collections.abc import Callable
from typing import Protocol

from bot.adapters.line_state import LineState
from bot.core.messages import CancelOrder, Event, PlaceOrder
from bot.core.reconcile import Snapshot


class Venue(Protocol):
    """One account on one exchange. Not thread-safe. Times are the exchange's, int64 ms UTC."""

    def submit(self, order: PlaceOrder, now: int) -> Event | None:
        """Send an order; return the answer, None when it comes from `poll`.

        Raises
        ------
        UnreachableError : the order was certainly not sent
        NoAnswerError : it may have arrived
        """

    def cancel(self, wish: CancelOrder, now: int) -> Event | None:
        """Ask for a cancellation; None when the answer comes later, or never because the order is
        gone. Raises as `submit` does."""

    def poll(self, until_ms: int) -> Event | None:
        """Return the next thing that happened up to `until_ms`, None when there is nothing."""

    def snapshot(self, asked: tuple[str, ...], since_ms: int, now: int) -> Snapshot | None:
        """Return a read of the account: open orders, positions, the orders `asked` for, and the
        records since `since_ms`; None while the read is under way: call again.

        Raises UnreachableError unless all of it was read."""

    def check_equity(self, ours: float) -> None:
        """Raise InvariantError when our equity differs from the venue's by more than its
        precision."""


class LastingVenue(Venue, Protocol):
    """A venue that a daemon lives on."""

    def next_ms(self) -> int | None:
        """Return when something can happen next; None when the market is over."""

    def prompted(self) -> bool:
        """Return whether the account should be read now, because something was heard."""

    def take_errors(self) -> list[str]:
        """Return the kinds of errors on the line since the last call."""

    def line(self) -> LineState | None:
        """Return how the line to the exchange is; None where there is none."""

    def while_waiting(self, call: Callable[[], None]) -> None:
        """Have `call` called about once a second while a method waits for the exchange."""

    def close(self) -> None:
        """Give back what it holds."""
