"""Whatever else is read of the exchange, spoiled at random: the truth, or UnreachableError.

Prices, candles, contracts, funding rates, the time, what an emergency reads, and the checks before
live trading, over ccxt, each with one reply broken in one place.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock, patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.adapters.kucoin_client import KucoinClient
from bot.adapters.kucoin_emergency import EmergencyReader, Exposure
from bot.adapters.kucoin_market import PublicMarket, read_contracts
from bot.core.errors import UnreachableError
from bot.core.market import HOUR_MS
from bot.core.specs import BUILTIN
from bot.shell.config import load_config
from bot.shell.live_checks import Account, inspect, inspect_key, self_test
from tests.support.broken_replies import Answers, answering, broken, good, one_broken, result
from tests.support.kucoin_samples import (
    CONTRACT,
    KLINES,
    MARK,
    ORDER,
    OVERVIEW,
    POSITION,
    RATE,
    TICKER,
    changed,
)

BTC, ETH = "BTC-USDT-PERP", "ETH-USDT-PERP"
FIRST, LAST = KLINES[0][0], KLINES[-1][0]
CONFIG = load_config(None, [f'symbols=["{BTC}"]'])
CONTRACTS = "GET /api/v1/contracts/"
ETHER = changed(CONTRACT, symbol="ETHUSDTM", multiplier=0.01, tickSize=0.01)
PUBLIC: Answers = {
    "GET /api/v1/kline/query": good(KLINES),
    "GET /api/v1/ticker": good(TICKER),
    "GET /api/v1/mark-price/XBTUSDTM/current": good(MARK),
    "GET /api/v1/contract/funding-rates": good([RATE]),
    "GET /api/v1/timestamp": good(1_732_000_000_500),
}
LISTED: Answers = {
    f"{CONTRACTS}XBTUSDTM": good(CONTRACT),
    f"{CONTRACTS}ETHUSDTM": good(ETHER),
    f"{CONTRACTS}active": good([CONTRACT, ETHER]),
}
EXPOSED: Answers = {
    "GET /api/v1/orders": good(
        {"currentPage": 1, "pageSize": 200, "totalNum": 0, "totalPage": 0, "items": []}
    ),
    "GET /api/v1/stopOrders": good(
        {"currentPage": 1, "pageSize": 200, "totalNum": 1, "totalPage": 1, "items": [ORDER]}
    ),
    "GET /api/v1/positions": good([POSITION]),
    "GET /api/v1/position": good(changed(POSITION, symbol="XBTUSDTM", currentQty=0, isOpen=False)),
}
CHECKED: Answers = {
    f"{CONTRACTS}XBTUSDTM": good(CONTRACT),
    f"{CONTRACTS}active": good([CONTRACT]),
    "GET /api/v2/position/getPositionMode": good({"positionMode": 0}),
    "GET /api/v2/position/getMarginMode": good({"symbol": "XBTUSDTM", "marginMode": "ISOLATED"}),
    "GET /api/v1/account-overview": good(OVERVIEW),
    "GET /api/v1/positions": good([POSITION]),
}
KEY: Answers = {
    "GET /api/ua/v1/account/mode": good({"selfAccountMode": "CLASSIC"}),
    "GET /api/v1/user/api-key": good({"apiKey": "k", "permission": "General,Futures"}),
}
SELF_TEST = "POST /api/v1/orders/test"
WORDS = ["abc", "-5", "isolated?", "UNIFIED ", "\u0663", "7", "0x10", "General", "x" * 90]


def market(client: KucoinClient) -> PublicMarket:
    return PublicMarket(client, [BUILTIN[BTC]], HOUR_MS)


async def clock(client: KucoinClient) -> int:
    await client.sync_clock()
    return client.clock.now()


QUESTIONS: dict[str, Callable[[KucoinClient], Awaitable[Any]]] = {
    "GET /api/v1/kline/query": lambda c: market(c).bars(0, FIRST, LAST + HOUR_MS),
    "GET /api/v1/ticker": lambda c: market(c).last_price(0),
    "GET /api/v1/mark-price/XBTUSDTM/current": lambda c: market(c).mark_price(0),
    "GET /api/v1/contract/funding-rates": lambda c: market(c).funding_rates(
        0, RATE["timepoint"] - 1, RATE["timepoint"]
    ),
    "GET /api/v1/timestamp": clock,
}


def ask(question: Callable[[KucoinClient], Awaitable[Any]], answers: Answers) -> Any:
    """Return what comes of a question."""

    async def asked() -> Any:
        async with answering(answers) as client:
            return await question(client)

    return result(asked())


async def contracts(client: KucoinClient) -> Any:
    return await read_contracts(client, [BTC, ETH])


async def exposure(client: KucoinClient) -> Exposure:
    return await EmergencyReader(client, [BTC, ETH]).read_exposure()


async def checks(client: KucoinClient) -> Account:
    return await inspect(client, CONFIG)


async def key_checks(client: KucoinClient) -> Account:
    seen = Account(1_000.0, (), (), (), ())
    await inspect_key(client, seen)
    return seen


TRUTH = {call: ask(question, PUBLIC) for call, question in QUESTIONS.items()}
ALL_LISTED, AT_RISK, FINE = ask(contracts, LISTED), ask(exposure, EXPOSED), ask(checks, CHECKED)


def test_the_untouched_answers_are_the_truth() -> None:
    assert [len(TRUTH["GET /api/v1/kline/query"]), TRUTH["GET /api/v1/ticker"]] == [2, 67158.4]
    assert TRUTH["GET /api/v1/timestamp"] == 1_732_000_000_500
    assert [one.spec for one in ALL_LISTED] == [BUILTIN[BTC], ALL_LISTED[1].spec]
    assert [order.name for order in AT_RISK.orders] == [ORDER["clientOid"]]
    assert (AT_RISK.held, AT_RISK.doubts([0, 1])) == ((0.0, -7.0), [])
    assert (FINE.refusals, FINE.concerns, FINE.tradable) == ([], [], (0,))
    told = ask(key_checks, KEY)
    assert (told.refusals, told.concerns, told.warnings) == ([], [], [])


@settings(max_examples=300)
@given(one_broken(PUBLIC))
def test_a_broken_market_answer_is_an_error_or_the_truth(case: tuple[str, Answers]) -> None:
    call, answers = case
    try:
        seen = ask(QUESTIONS[call], answers)
    except UnreachableError:
        return
    if call == "GET /api/v1/kline/query":  # a candle that makes no sense is as if it were not there
        assert set(seen) <= set(TRUTH[call])
        assert len(seen) == 2 or answers[call]["data"] != PUBLIC[call]["data"]
    elif call != "GET /api/v1/contract/funding-rates" or answers[call]["data"]:
        assert seen == TRUTH[call]
    else:
        assert seen == []  # none was settled: an answer like any other


@settings(max_examples=100)
@given(broken(TICKER))
def test_the_age_of_a_price_is_an_error_or_the_truth(ticker: Any) -> None:
    try:
        seen = ask(lambda c: market(c).traded_ms(0), {"GET /api/v1/ticker": good(ticker)})
    except UnreachableError:
        return
    assert seen == TICKER["ts"] // 1_000_000


@settings(max_examples=150)
@given(one_broken(LISTED), st.booleans())
def test_no_contract_is_taken_for_another_or_for_one_that_is_not_listed(
    case: tuple[str, Answers], twice: bool
) -> None:
    call, answers = case
    if twice and call == f"{CONTRACTS}active":  # asked for only where a contract was not answered
        answers = answers | {f"{CONTRACTS}ETHUSDTM": {"code": "100001", "msg": "no such contract"}}
    try:
        seen = ask(contracts, answers)
    except UnreachableError:
        return
    assert seen == ALL_LISTED


def test_an_empty_list_of_contracts_delists_none() -> None:
    refused = {"code": "100001", "msg": "no such contract"}
    none = LISTED | {f"{CONTRACTS}ETHUSDTM": refused, f"{CONTRACTS}active": good([])}
    with pytest.raises(UnreachableError, match="contracts: expected some"):
        ask(contracts, none)
    without = ask(contracts, none | {f"{CONTRACTS}active": good([CONTRACT])})
    assert without == [ALL_LISTED[0], None]


@settings(max_examples=200)
@given(one_broken(EXPOSED))
def test_no_emergency_sees_less_than_there_is(case: tuple[str, Answers]) -> None:
    call, answers = case
    seen = ask(exposure, answers)
    if answers[call] == good([]):
        return  # what a flat account answers
    for held, truth in zip(seen.held, AT_RISK.held, strict=True):
        assert held in (truth, None), call
    assert seen.doubts([0, 1]) or len(seen.orders) == 1, call


@settings(max_examples=200)
@given(one_broken(CHECKED))
def test_a_start_sees_the_truth_or_nothing(case: tuple[str, Answers]) -> None:
    call, answers = case
    try:
        seen = ask(checks, answers)
    except UnreachableError:
        return
    if answers[call] == good([]):
        assert seen.held == ()
    else:
        assert seen == FINE


@settings(max_examples=40)
@given(
    st.sampled_from(["positionMode", "marginMode", "symbol", "status"]),
    st.sampled_from([*sorted(CHECKED)]),
    st.sampled_from(WORDS),
)
def test_a_word_without_sense_lets_no_start_pass(name: str, call: str, word: str) -> None:
    data = CHECKED[call]["data"]
    assume(isinstance(data, dict) and name in data)
    try:
        seen = ask(checks, {**CHECKED, call: good(data | {name: word})})
    except UnreachableError:
        return
    assert seen.refusals or seen.concerns


@settings(max_examples=60)
@given(one_broken(KEY))
def test_what_the_spot_host_does_not_tell_is_a_warning(case: tuple[str, Answers]) -> None:
    call, answers = case
    told = ask(key_checks, answers)
    if not told.warnings:
        told_of = "permission" if "user" in call else "selfAccountMode"
        assert answers[call]["data"][told_of] == KEY[call]["data"][told_of]
    assert (told.refusals, told.concerns) == ([], [])


@pytest.mark.parametrize("word", ["abc", "-5", "\u0663", "7", ",", "x" * 90])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("GET /api/ua/v1/account/mode", "selfAccountMode"),
        ("GET /api/v1/user/api-key", "permission"),
    ],
)
def test_a_word_that_nobody_knows_is_a_warning(call: str, name: str, word: str) -> None:
    told = ask(key_checks, {**KEY, call: good({name: word})})
    assert told.warnings


@settings(max_examples=60)
@given(broken(good({"orderId": "5bd6e9286d99522a52e458de", "clientOid": None})))
def test_a_self_test_that_is_answered_without_sense_is_told_and_ends_no_start(reply: Any) -> None:
    said = Mock()
    with patch("bot.shell.live_checks.log", said):
        found = ask(lambda client: self_test(client, BUILTIN[BTC], 6e4), {SELF_TEST: reply})
    assert found == []
    if not said.warning.called:
        assert isinstance(reply["data"]["orderId"], str)
        assert not reply["data"].get("clientOid")
