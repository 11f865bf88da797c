"""A real client whose exchange answers from a table, and ways to break one answer in one place.

ccxt itself reads what comes: a text with the reply, as it would come over a socket.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any
from urllib.parse import urlsplit

from hypothesis import strategies as st

from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_site import Credentials, Site
from bot.adapters.token_bucket import TokenBucket
from ops.exchange.hand_clock import HandClock

NOW = 1_732_000_000_000
BROKEN: list[Any] = [
    None, True, [], {}, [[]], {"a": 1}, float("nan"), float("inf"), "", "\n", -(10**400), "1_0",
]  # fmt: skip
"""no value of any field; another number in place of a number cannot be told from the truth"""

type Answers = dict[str, Any]
"""replies, envelope and all, by "GET /path" """


def good(data: Any) -> dict[str, Any]:
    """Return a reply of success."""
    return {"code": "200000", "data": data}


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places in an answer."""
    found = [at]
    if isinstance(value, dict):
        for key, part in value.items():
            found += paths(part, (*at, key))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            found += paths(part, (*at, i))
    return found


@st.composite
def broken(draw: st.DrawFn, sound: Any) -> Any:
    """Return an answer with one place broken; the place may be all of it."""
    answer = copy.deepcopy(sound)
    path = draw(st.sampled_from(paths(answer)))
    if not path:
        return draw(st.sampled_from(BROKEN))
    *way, last = path
    place = answer
    for key in way:
        place = place[key]
    if draw(st.booleans()) and isinstance(place, dict):
        del place[last]
    else:
        place[last] = draw(st.sampled_from(BROKEN))
    return answer


@st.composite
def one_broken(draw: st.DrawFn, answers: Answers) -> tuple[str, Answers]:
    """Return all answers with one of them broken, and which."""
    call = draw(st.sampled_from(sorted(answers)))
    return call, {**answers, call: draw(broken(answers[call]))}


class NoJitter(Random):
    """Makes pauses of no length: a read that fails is tried again at once."""

    def random(self) -> float:
        return -1.0


class Reply:
    """One answer over HTTP."""

    status, reason = 200, "OK"
    headers: Mapping[str, str] = {"Content-Type": "application/json"}
    content = b""

    def __init__(self, value: Any) -> None:
        self.value = value

    async def __aenter__(self) -> "Reply":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def text(self, **_: Any) -> str:
        return json.dumps(self.value)


class Replies:
    """Stands in for an HTTP session: answers from a table."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}

    def get(self, url: Any, **_: Any) -> Reply:
        return self._reply("GET", url)

    def post(self, url: Any, **_: Any) -> Reply:
        return self._reply("POST", url)

    def delete(self, url: Any, **_: Any) -> Reply:
        return self._reply("DELETE", url)

    def _reply(self, method: str, url: Any) -> Reply:
        call = f"{method} {urlsplit(str(url)).path}"
        self.asked.append(call)
        return Reply(self.answers[call])


CLIENT = KucoinClient(
    Site(), Credentials("k", "s", "p"), HandClock(NOW), TokenBucket(), NoJitter(), slim=False
)
"""made once: that takes longer than all that is asked of it"""


@asynccontextmanager
async def answering(answers: Answers) -> AsyncIterator[KucoinClient]:
    """Yield the client with a budget and a clock of its own; asked within one loop."""
    clock = HandClock(NOW)
    CLIENT.clock, CLIENT.bucket = clock, TokenBucket(monotonic=lambda: 0.0)
    CLIENT.errors.clear()
    ccxt = CLIENT.ccxt
    ccxt.nonce = clock.now
    ccxt.asyncio_loop, ccxt.own_session, ccxt.session = None, False, Replies(answers)
    CLIENT.ccxt.open()
    yield CLIENT


def result[T](work: Coroutine[Any, Any, T]) -> T:
    """Do some work in a loop of its own."""
    return asyncio.run(work)
