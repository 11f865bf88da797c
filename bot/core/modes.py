"""Operating modes: a ladder on which the most restrictive cause wins (DESIGN section 4).

RUN < REDUCE_ONLY < HALT < FLATTEN. A cause sets a mode and says who may clear it; the mode in force
is the maximum over all causes. What each mode still does:

REDUCE_ONLY  no entries; exits, stops and targets as usual
HALT         no entries and no exits of strategies; reconciles, protects, obeys the operator
FLATTEN      closes everything, cancels everything, stays flat until a person resumes
"""

from dataclasses import dataclass, field
from enum import Enum

from bot.core.errors import InvariantError
from bot.core.kernel.codes import FLATTEN, HALT, MODE_NAMES, REDUCE_ONLY, RUN


class Clearer(Enum):
    """Who may take a cause back."""

    CONDITION = "the condition itself"
    NEXT_DAY = "the next UTC day"
    QUIET_TIME = "30 minutes without errors"
    PERSON = "radbot resume --reason"


class Cause(Enum):
    """Why the bot is held back: (name, mode, who may clear it)."""

    STALE_DATA = ("stale_data", REDUCE_ONLY, Clearer.CONDITION)
    EQUITY_JUMP = ("equity_jump", REDUCE_ONLY, Clearer.PERSON)
    DAILY_LOSS = ("daily_loss", REDUCE_ONLY, Clearer.NEXT_DAY)
    EXCHANGE_ERRORS = ("exchange_errors", REDUCE_ONLY, Clearer.QUIET_TIME)
    JOURNAL_FAILED = ("journal_failed", REDUCE_ONLY, Clearer.CONDITION)
    RECOVERING = ("recovering", HALT, Clearer.CONDITION)
    STOPPING = ("stopping", HALT, Clearer.CONDITION)
    FOREIGN_ORDER = ("foreign_order", REDUCE_ONLY, Clearer.PERSON)
    EXCHANGE_UNREACHABLE = ("exchange_unreachable", HALT, Clearer.CONDITION)
    OPERATOR_HALT = ("operator_halt", HALT, Clearer.PERSON)
    RECOVERY_FAILED = ("recovery_failed", HALT, Clearer.PERSON)
    DRAWDOWN = ("drawdown", FLATTEN, Clearer.PERSON)
    KILL_SWITCH = ("kill_switch", FLATTEN, Clearer.PERSON)

    __hash__ = object.__hash__  # members are single objects; Enum's own is slow Python code

    def __init__(self, label: str, mode: int, clearer: Clearer) -> None:
        self.label = label
        self.mode = mode
        self.clearer = clearer


@dataclass(slots=True)
class Modes:
    """The causes in force and since when (ms)."""

    causes: dict[Cause, int] = field(default_factory=dict)

    @property
    def mode(self) -> int:
        """The mode in force."""
        if not self.causes:
            return RUN
        return max(cause.mode for cause in self.causes)

    @property
    def name(self) -> str:
        """The mode in force, as people write it."""
        return MODE_NAMES[self.mode]

    def tighten(self, cause: Cause, now_ms: int) -> bool:
        """Add a cause; anything may tighten. Return whether it is new."""
        if cause in self.causes:
            return False
        self.causes[cause] = now_ms
        return True

    def clear(self, cause: Cause, by: Clearer) -> bool:
        """Take a cause back; only the party its rule names may. Return whether it was in force.

        Raises
        ------
        InvariantError : `by` has no right to clear this cause
        """
        if cause.clearer is not by:
            raise InvariantError(
                f"{cause.label} is cleared by {cause.clearer.value}, was asked by {by.value}"
            )
        return self.causes.pop(cause, None) is not None
