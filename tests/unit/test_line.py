"""The line to the exchange: what is known of it for metrics and for the watchdog."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bot.adapters.kucoin import KucoinVenue
from bot.adapters.kucoin_market import PublicMarket
from bot.adapters.kucoin_prompt import Prompter
from bot.adapters.line_state import LineState
from bot.adapters.token_bucket import Priority, TokenBucket
from bot.core.errors import UnreachableError
from bot.core.market import ContractSpec

SPEC = ContractSpec("BTC-USDT-PERP", 0.001, 0.1)
MINUTE = 60_000


class Ccxt:
    """Stands for ccxt's own handling of frames."""

    def handle_message(self, socket: Any, message: Any) -> None:
        """Take a frame that is no push."""


class Client:
    """A client whose exchange answers with nothing, or not at all."""

    def __init__(self) -> None:
        self.bucket = TokenBucket(100, 30.0, lambda: 10.0)
        self.clock = SimpleNamespace(offset_ms=-250.0)
        self.ccxt = Ccxt()
        self.down = False

    async def read(self, *_: object, **__: object) -> list[object]:
        if self.down:
            raise UnreachableError("down")
        return []


@pytest.fixture
def client() -> Client:
    return Client()


def test_answers_about_the_market_are_counted_and_so_are_failures(client: Client) -> None:
    market = PublicMarket(client, [SPEC], MINUTE)  # type: ignore[arg-type]

    async def ask() -> None:
        assert await market.bars(0, 0, MINUTE) == []
        client.down = True
        with pytest.raises(UnreachableError):
            await market.bars(0, 0, MINUTE)
        with pytest.raises(UnreachableError):
            await market.traded_ms(0)
        with pytest.raises(UnreachableError):
            await market.mark_price(0)  # not about whether the market goes on

    assert market.line().answers == 0
    asyncio.run(ask())
    assert market.line().answers == 3


def test_budget_and_clock_are_those_of_the_client(client: Client) -> None:
    market = PublicMarket(client, [SPEC], MINUTE)  # type: ignore[arg-type]
    asyncio.run(client.bucket.take(25, Priority.REDUCE))
    assert market.line() == LineState(answers=0, budget=0.75, clock_offset_s=-0.25)
    client.bucket.block(1.0)
    assert market.line().budget == 0.0


def test_a_look_at_the_budget_gives_nothing_back(client: Client) -> None:
    now = [0.0]
    bucket = TokenBucket(100, 30.0, lambda: now[0])
    asyncio.run(bucket.take(25, Priority.REDUCE))
    taken = dict(bucket._taken)
    now[0] = 60.0
    assert bucket.level == 1.0
    assert bucket._taken == taken  # another thread owns it


def test_a_socket_is_there_from_its_first_word_to_its_first_trouble(client: Client) -> None:
    now = [5.0]
    prompter = Prompter(client, lambda: None, monotonic=lambda: now[0])  # type: ignore[arg-type]
    venue = KucoinVenue(
        SimpleNamespace(),  # type: ignore[arg-type]
        client,  # type: ignore[arg-type]
        SimpleNamespace(),  # type: ignore[arg-type]
        [SPEC],
        MINUTE,
        client.clock,  # type: ignore[arg-type]
        monotonic=lambda: now[0],
    )
    assert venue.line().pushing is None  # none is wanted
    venue.prompter = prompter
    assert (venue.line().pushing, venue.line().push_age_s) == (False, None)
    prompter._message(SimpleNamespace(), {"type": "welcome"})
    assert (venue.line().pushing, venue.line().push_age_s) == (True, None)
    prompter._message(SimpleNamespace(), {"type": "message"})
    now[0] = 7.5
    assert (venue.line().pushing, venue.line().push_age_s) == (True, 2.5)
    prompter._message(SimpleNamespace(reject=lambda error: None), {"type": "error"})
    assert venue.line().pushing is False


def test_a_socket_that_ends_is_not_there(client: Client) -> None:
    prompter = Prompter(client, lambda: None)  # type: ignore[arg-type]

    async def holds() -> None:
        prompter.connected = True
        raise OSError("gone")

    async def forgets() -> None:
        assert not prompter.connected
        raise asyncio.CancelledError

    prompter._hold = holds  # type: ignore[method-assign]
    prompter._forget = forgets  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(prompter.run())
