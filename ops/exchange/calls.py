"""A request as handlers see it, and what a route is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.exchange.limits import Pool
from ops.exchange.refusal import bad_parameter
from ops.exchange.wire import Wire

DEFAULT_PAGE = 50
MAX_PAGE = 1_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the guards: its parameters, its body, and the time."""

    params: Mapping[str, str]
    """of the path and the query"""
    body: Any
    """JSON; an empty object without a body"""
    now: int

    def text(self, key: str) -> str:
        """Return a parameter that has to be there."""
        value = self.params.get(key)
        if not value:
            raise bad_parameter(f"{key}: expected a value, was missing")
        return value

    def integer(self, key: str, default: int | None = None) -> int | None:
        """Return a whole number, or the default where it is missing."""
        value = self.params.get(key)
        if value is None or value == "":
            return default
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(value) > 18:
            raise bad_parameter(f"{key}: expected a whole number, was {value!r}")
        return int(value)

    def fields(self) -> dict[str, Any]:
        """Return the body, which has to be an object."""
        if not isinstance(self.body, dict):
            raise bad_parameter("expected a JSON object")
        return self.body

    def window(self, first: str, last: str) -> tuple[int, int]:
        """Return the times between which rows are asked for, both included; open ends are wide."""
        start, end = self.integer(first), self.integer(last)
        return (0 if start is None else start), (self.now if end is None else end)


type Handler = Callable[[Wire, Call], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """Where a handler is, what a call costs, and whether it has to be signed."""

    method: str
    path: str
    handler: Handler
    pool: Pool
    weight: int

    @property
    def signed(self) -> bool:
        return self.pool is not Pool.PUBLIC

    @property
    def trades(self) -> bool:
        """Whether the key needs the right to trade futures: to change something, not to read."""
        changes = self.method != "GET" and not self.path.endswith("/bullet-private")
        return changes and self.pool is Pool.FUTURES


def page(call: Call, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one page of a list that is complete, newest first, as KuCoin numbers pages."""
    size = call.integer("pageSize", DEFAULT_PAGE) or DEFAULT_PAGE
    number = call.integer("currentPage", 1) or 1
    if not 1 <= size <= MAX_PAGE:
        raise bad_parameter(f"pageSize: expected 1 to {MAX_PAGE}, was {size}")
    if number < 1:
        raise bad_parameter(f"currentPage: expected at least 1, was {number}")
    return {
        "currentPage": number,
        "pageSize": size,
        "totalNum": len(rows),
        "totalPage": -(-len(rows) // size),
        "items": rows[(number - 1) * size : number * size],
    }


def scroll(call: Call, rows: list[dict[str, Any]], key: str, usual: int) -> dict[str, Any]:
    """Return a part of a list, newest first, that starts after the row `offset` names by `key`.

    `forward=false` goes to newer rows instead; without `maxCount` it has the usual size.
    """
    size = call.integer("maxCount", usual) or usual
    offset = call.integer("offset")
    forward = call.params.get("forward", "true").lower() != "false"
    if not 1 <= size <= MAX_PAGE:
        raise bad_parameter(f"maxCount: expected 1 to {MAX_PAGE}, was {size}")
    if offset is not None:
        rows = [row for row in rows if (row[key] < offset if forward else row[key] > offset)]
    cut = rows[:size] if forward or offset is None else rows[-size:]
    return {"hasMore": len(rows) > size, "dataList": cut}
