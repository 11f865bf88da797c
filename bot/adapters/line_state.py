"""How the line to a real exchange is; for metrics and for the watchdog."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LineState:
    """A picture of one moment."""

    answers: int
    """questions about the market that were answered, or failed, so far"""
    budget: float
    """share of the request budget that is left"""
    clock_offset_s: float
    """the exchange's clock minus the host's, when it was measured last"""
    pushing: bool | None = None
    """whether the WebSocket is there; None where none is wanted"""
    push_age_s: float | None = None
    """since its newest push; None before the first"""
