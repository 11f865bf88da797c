"""Orders as they leave for KuCoin: nothing is left to a default."""

from typing import Any

import pytest

from bot.adapters.kucoin import PRIORITIES
from bot.adapters.kucoin_orders import order_body, price_text
from bot.adapters.token_bucket import Priority
from bot.core.errors import InvariantError
from bot.core.market import ContractSpec
from bot.core.messages import PlaceOrder, Role

SPEC = ContractSpec("BTC-USDT-PERP", 0.001, 0.1)
COMMON = {"symbol": "XBTUSDTM", "leverage": 8, "marginMode": "ISOLATED", "size": 12}


def body(role: Role, side: int, price: float = 0.0, contracts: float = 12.0) -> dict[str, Any]:
    return order_body(PlaceOrder("r1-7-x", 0, role, side, contracts, price, 8.0), "XBTUSDTM", SPEC)


@pytest.mark.parametrize(("side", "word"), [(1, "buy"), (-1, "sell")])
def test_an_entry_is_a_limit_that_does_not_rest(side: int, word: str) -> None:
    assert body(Role.ENTRY, side, 60_000.1) == {
        **COMMON,
        "clientOid": "r1-7-x",
        "side": word,
        "type": "limit",
        "price": "60000.1",
        "timeInForce": "IOC",
    }


def test_an_exit_is_market_and_reduces_only() -> None:
    assert body(Role.EXIT, -1) == {
        **COMMON,
        "clientOid": "r1-7-x",
        "side": "sell",
        "type": "market",
        "reduceOnly": True,
    }


@pytest.mark.parametrize(("side", "word", "way"), [(1, "buy", "up"), (-1, "sell", "down")])
def test_a_stop_is_market_on_the_mark_price_in_its_direction(
    side: int, word: str, way: str
) -> None:
    assert body(Role.STOP, side, 58_800.0) == {
        **COMMON,
        "clientOid": "r1-7-x",
        "side": word,
        "type": "market",
        "reduceOnly": True,
        "stop": way,
        "stopPrice": "58800.0",
        "stopPriceType": "MP",
    }


def test_a_target_rests_and_reduces_only() -> None:
    assert body(Role.TARGET, -1, 61_000.0) == {
        **COMMON,
        "clientOid": "r1-7-x",
        "side": "sell",
        "type": "limit",
        "price": "61000.0",
        "timeInForce": "GTC",
        "reduceOnly": True,
    }


@pytest.mark.parametrize("contracts", [0.5, 2.9999])
def test_contracts_that_are_not_whole_are_a_broken_promise(contracts: float) -> None:
    with pytest.raises(InvariantError, match="whole contracts"):
        body(Role.EXIT, -1, contracts=contracts)


@pytest.mark.parametrize(
    ("tick", "price", "text"),
    [
        (0.1, 60_000.1, "60000.1"),
        (0.01, 0.07, "0.07"),
        (1e-05, 0.15088, "0.15088"),
        (0.5, 102.5, "102.5"),
        (5.0, 60_005.0, "60005.0"),
        (0.0001, 0.5902, "0.5902"),
        (1e-07, 1.5e-06, "0.0000015"),
    ],
)
def test_prices_have_the_decimals_of_their_tick(tick: float, price: float, text: str) -> None:
    assert price_text(price, ContractSpec("X-USDT-PERP", 1.0, tick)) == text


def test_a_price_off_the_grid_is_a_broken_promise() -> None:
    with pytest.raises(InvariantError, match=r"multiple of 0\.1"):
        price_text(60_000.15, SPEC)


def test_what_reduces_risk_goes_first_and_nothing_else() -> None:
    """A target rests far away: it takes nothing from the share that is kept for stops and exits."""
    first = {role for role, priority in PRIORITIES.items() if priority is Priority.REDUCE}
    assert first == {Role.STOP, Role.EXIT}
    assert set(PRIORITIES) == set(Role)
