"""The line to the exchange: what is known of it for metrics and for the watchdog."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bot.adapters.kucoin import KucoinVenue
from bot.adapters.kucoin_bars import Bars
from bot.adapters.kucoin_market import PublicMarket
from bot.adapters.kucoin_prompt import Prompter
from bot.adapters.line_state import LineState
from bot.adapters.token_bucket import SLOT_S, Priority, TokenBucket
from bot.core.errors import UnreachableError
from bot.core.market import Bar, ContractSpec
from bot.shell.config import load_config
from bot.shell.exchange_line import connect

SPEC = ContractSpec("BTC-USDT-PERP", 0.001, 0.1)
MINUTE = 60_000
START = 1_704_067_200_000


class Ccxt:
    """Stands for ccxt's own handling of frames."""

    def handle_message(self, socket: Any, message: Any) -> None:
        """Take a frame that is no push."""


class Client:
    """A client whose exchange answers with nothing or some rows, or not at all."""

    def __init__(self) -> None:
        self.bucket = TokenBucket(100, 30.0, lambda: 10.0)
        self.clock = SimpleNamespace(offset_ms=-250.0)
        self.ccxt = Ccxt()
        self.down = False
        self.rows: list[object] = []
        self.errors: list[str] = []

    async def read(self, *_: object, **__: object) -> list[object]:
        if self.down:
            raise UnreachableError("down")
        return self.rows


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


def test_a_candle_that_makes_no_sense_hides_no_other_one(client: Client) -> None:
    market = PublicMarket(client, [SPEC], MINUTE)  # type: ignore[arg-type]
    good = [[START + n * MINUTE, 5.0, 6.0, 4.0, 5.5, 1_000] for n in range(4)]
    wrong = [START + 2 * MINUTE, 5.0, 4.0, 6.0, 5.5, 1_000]  # its low is above its high
    bar = Bar(5.0, 6.0, 4.0, 5.5, 1.0)

    def ask(*rows: object) -> Bars:
        client.rows = list(rows)
        return asyncio.run(market.bars(0, START, START + 4 * MINUTE))

    assert ask(*good) == [(START + n * MINUTE, bar) for n in range(4)]
    assert client.errors == []
    assert ask(*good[:2], wrong, good[3]) == [(START + n * MINUTE, bar) for n in (0, 1, 3)]
    twice = [START + MINUTE, 5.0, 7.0, 4.0, 5.5, 1_000]
    assert ask(*good[:2], twice, good[1]) == [(START, bar)]
    for nonsense in ([wrong], [None]):
        with pytest.raises(UnreachableError, match="makes no sense"):
            ask(*nonsense)
    assert client.errors == ["malformed"] * 4


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


@pytest.mark.parametrize("speed", [1.0, 40.0])
def test_the_budget_is_counted_in_the_time_of_the_exchange(speed: float) -> None:
    """A simulator in fast time fills its pools as much sooner."""
    here = "http://127.0.0.1:9"
    urls = [f"exchange.futures_url={here}", f"exchange.spot_url={here}"]
    line = connect(load_config(None, [*urls, f"exchange.speed={speed}"]), None)
    try:
        bucket = line.client.bucket
        asyncio.run(bucket.take(bucket.limit, Priority.REDUCE))
        window_s = bucket.wait_s(1, Priority.REDUCE)
    finally:
        line.close()
    assert window_s == pytest.approx(30.0 / speed, abs=SLOT_S)


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
