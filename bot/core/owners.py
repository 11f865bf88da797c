"""Who owns a position when the list of strategies changes between two runs.

The kernel knows an owner by its place in the list of strategies, which is what the configuration
says today. Between two runs owners go by name. The owner of a position that is not configured any
more is put after the configured strategies, as a kind that wishes for nothing and wants to leave
nothing: the position keeps its stop and its target, and only they, risk or a person close it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bot.core.errors import InputError
from bot.core.kernel.codes import EMA_CROSS, STRATEGY_CODES, STRATEGY_NAMES
from bot.core.kernel.records import Intent, Position, World

RETIRED = 16
"""added to the kind of a strategy that is not configured any more; no signal knows such a kind"""
MARK = "retired:"
OWNER = "owner"  # a key beside the fields of a stored position or intent


def strategy_name(kind: int) -> str:
    """Return the name of a strategy, configured or not.

    >>> strategy_name(RETIRED + EMA_CROSS)
    'ema_cross'
    """
    return STRATEGY_NAMES[kind % RETIRED]


def written(kinds: Iterable[int]) -> str:
    """Return a list of strategies as it is written with a run.

    >>> written([0, 18])
    'trend,retired:reversion'
    """
    return ",".join(f"{MARK if kind >= RETIRED else ''}{strategy_name(kind)}" for kind in kinds)


def read_kinds(text: str) -> list[int]:
    """Return the list that `written` made; a strategy without a name is left out.

    >>> read_kinds("trend,retired:reversion,astrology")
    [0, 18]
    """
    kinds = []
    for name in text.split(","):
        known = STRATEGY_CODES.get(name.removeprefix(MARK))
        if known is not None:
            kinds.append(known + (RETIRED if name.startswith(MARK) else 0))
    return kinds


def signed(world: World, stored: list[dict[str, Any]], records: Iterable[Position | Intent]) -> Any:
    """Return stored positions or intents with the names of their owners; older releases pass over
    them."""
    for plain, record in zip(stored, records, strict=True):
        if record.strategy < len(world.strategies):
            plain[OWNER] = strategy_name(world.strategies[record.strategy])
    return stored


class OwnerError(InputError):
    """An owner that cannot be kept under the configured strategies."""


class Owners:
    """The strategies of a restored world: the configured ones, then owners that are not."""

    def __init__(self, world: World) -> None:
        self.kinds = list(world.strategies)
        self.reference = world.params.reference != 0

    def find(self, record: Position | Intent, stored: Mapping[str, Any], *, needed: bool) -> None:
        """Give a restored record the place of its owner; one that is not `needed` may lose it.

        Raises
        ------
        OwnerError : its owner cannot be kept
        """
        name = stored.get(OWNER)
        if name is None and record.strategy < len(self.kinds):
            return  # written by a release that knew places only
        kind = STRATEGY_CODES.get(str(name), -1)
        known = [place for place in (kind, kind + RETIRED) if place in self.kinds]
        if known:
            record.strategy = self.kinds.index(known[0])
        elif not needed:
            record.strategy = 0
        elif kind < 0 or self.reference or kind == EMA_CROSS:
            configured = ", ".join(map(strategy_name, self.kinds))
            raise OwnerError(
                f"expected strategies that can keep a position of {name}, was {configured}: "
                "configure it again and close the position, or use another --state"
            )
        else:
            record.strategy = len(self.kinds)
            self.kinds.append(kind + RETIRED)
