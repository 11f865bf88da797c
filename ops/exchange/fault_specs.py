"""What a fault may say: the kinds, their fields, and the errors of a wrong one.

A fault is one JSON object with a `kind`. Unless its kind stands, it fires from the `nth` (1) thing
on that it matches, `times` (1) times; 0 is until it is cleared. A kind that stands concerns
everything until it is cleared or, with `seconds`, for so long. All seconds are real ones.

aiohttp, and so ccxt, sends a GET or DELETE whose connection was dropped once more by itself: to be
noticed by them a drop of such a request needs `times` 2.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.exchange.unified_topics import TRADE_TYPES

MOST_SECONDS = 86_400.0
MOST_COUNT = 1_000_000_000
MOST_SKEW_MS = 1_000_000_000
METHODS = ("GET", "POST", "PUT", "DELETE")
ROLES = ("entry", "exit", "stop", "target", "cancel")
BAD_STATUS = range(400, 600)


@dataclass(frozen=True, slots=True)
class Kind:
    """The fields that a kind must have and those that it may have."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    stands: bool = False


def _of_requests(*needs: str, may: tuple[str, ...] = ()) -> Kind:
    return Kind(needs, (*may, "method", "path", "role", "nth", "times"))


def _of_pushes(*needs: str, may: tuple[str, ...] = ()) -> Kind:
    return Kind(needs, (*may, "topic", "nth", "times"))


def _standing(*needs: str) -> Kind:
    return Kind(needs, ("seconds", "nth", "times"), stands=True)


# What happens to a request; the first ones instead of processing it.
REQUEST_KINDS = {
    "status": _of_requests("status", may=("body",)),  # such a reply; default: a gateway's page
    "error": _of_requests("code", "msg", may=("status",)),  # the exchange's own "no"
    "html": _of_requests(),  # a page with status 200
    "drop_before": _of_requests(),  # the connection is closed
    "drop_after": _of_requests(),  # processed, then the connection is closed
    "slow_before": _of_requests("seconds"),  # waits, then processes
    "slow_after": _of_requests("seconds"),  # processes, then waits
    "null": _of_requests(),  # processed, but `data` is null
    # processed; default: a third of the fields, of every contract
    "null_fields": _of_requests(may=("fields", "symbol")),
}
# What happens to a push, which counts when somebody listens.
PUSH_KINDS = {
    "ws_drop": _of_pushes(),  # lost; its number is missing
    "ws_duplicate": _of_pushes(),
    "ws_reorder": _of_pushes(may=("seconds",)),  # comes after the next one, or after so long
    "ws_delay": _of_pushes("seconds"),  # later ones overtake it
    "ws_gap": _of_pushes(),  # the numbers jump (those of a book with its next change), none is lost
    "ws_close": _of_pushes(),  # all sockets are closed
    "ws_error_frame": _of_pushes(may=("code", "msg")),  # to all sockets
}
KINDS: dict[str, Kind] = {
    **REQUEST_KINDS,
    "skew": _standing("ms"),  # the exchange's clock is ahead
    "maintenance": _standing(),  # the status says close, private calls fail
    "late_klines": _standing("ms"),  # a candle is not there until so long after its end
    "late_fills": _standing("ms"),  # a fill is not on the lists until so long after it
    "outage": _standing(),  # no connection gets an answer; open sockets go on
    **PUSH_KINDS,
    "ws_silent": _standing(),  # sockets stay open, and what was to be sent is lost
    "ws_no_pong": Kind(may=("nth", "times")),  # a ping is not answered
    "ws_expired_token": Kind(may=("nth", "times")),  # a new connection hears "token is expired"
}

# These happen at once, unless the fault says at which push.
AT_ONCE = ("ws_close", "ws_error_frame")
AT_A_PUSH = ("topic", "nth", "times")


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _seconds(value: Any) -> bool:
    known = type(value) in (int, float) and math.isfinite(value)
    return known and 0.0 <= value <= MOST_SECONDS


def _code(value: Any) -> bool:
    text = str(value) if type(value) is int else value
    return isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 9


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)


def _rooted(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/")


def _topic(value: Any) -> bool:
    return _rooted(value) or (isinstance(value, str) and value.startswith(tuple(TRADE_TYPES)))


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "method": (lambda value: value in METHODS, f"one of {', '.join(METHODS)}"),
    "path": (_rooted, "the beginning of a path, with its /"),
    "role": (lambda value: value in ROLES, f"one of {', '.join(ROLES)}"),
    "topic": (_topic, "the beginning of a topic, with its /, or of a unified channel"),
    "nth": (_whole(1, MOST_COUNT), "a whole number from 1"),
    "times": (_whole(0, MOST_COUNT), "a whole number from 0 (until cleared)"),
    "seconds": (_seconds, f"a number from 0 to {MOST_SECONDS:.0f}"),
    "status": (
        lambda value: type(value) is int and (value == 200 or value in BAD_STATUS),
        "200 or a whole number from 400 to 599",
    ),
    "body": (lambda value: isinstance(value, str | dict | list), "text or JSON"),
    "code": (_code, "up to nine digits"),
    "msg": (lambda value: isinstance(value, str), "text"),
    "fields": (_names, "a list of names"),
    "symbol": (lambda value: isinstance(value, str) and bool(value), "KuCoin's name of a contract"),
    "ms": (_whole(-MOST_SKEW_MS, MOST_SKEW_MS), f"whole milliseconds up to {MOST_SKEW_MS}"),
}


def check(spec: Any) -> dict[str, Any]:
    """Return a copy of a fault with `nth` and `times` filled in.

    Raises ValueError when it is not one.
    """
    if not isinstance(spec, Mapping):
        raise ValueError(f"fault: expected an object, was {type(spec).__name__}")
    name = spec.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, was {name!r}")
    given = {field: value for field, value in spec.items() if field != "kind"}
    for field in kind.needs:
        if field not in given:
            raise ValueError(f"{name}: {field} is missing, expected {FIELDS[field][1]}")
    for field, value in given.items():
        if field not in kind.needs and field not in kind.may:
            known = ", ".join((*kind.needs, *kind.may))
            raise ValueError(f"{name}: expected only {known}, was {field!r}")
        fits, expected = FIELDS[field]
        if not fits(value):
            raise ValueError(f"{name}: {field}: expected {expected}, was {value!r}")
    checked = {"kind": name, "nth": 1, "times": 0 if kind.stands else 1, **given}
    if kind.stands and (checked["nth"], checked["times"]) != (1, 0):
        raise ValueError(f"{name}: stands until cleared or for seconds, expected no nth or times")
    return checked
