"""The wire simulator under unmodified ccxt: every REST call that a bot makes, over real sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ops.exchange.wire import Options
from tests.support.wire_client import SYMBOL, Client, connected
from tests.support.wire_desk import MINUTE, PAST, START, options, source

PRICES = [100.0] * PAST
SETTLED = START + (PAST + 1) * MINUTE
OTHER = "ETH/USDT:USDT"


def market(*prices: Any, latency_ms: tuple[int, int] = (5, 5), **changes: Any) -> Options:
    """Return two coins, the first at these prices, the other at 10."""
    rows = [*PRICES, *prices]
    made = source(rows, [10.0] * len(rows), [(0, SETTLED, 0.0001)])
    return options(made, latency_ms=latency_ms, **changes)


def on(opts: Options, story: Callable[[Client], Awaitable[None]], **credentials: str) -> None:
    """Play a story with a client of a new simulator."""

    async def play() -> None:
        async with connected(opts, **credentials) as client:
            await story(client)

    asyncio.run(play())


def bot_order(role: str, name: str) -> dict[str, Any]:
    """Return the parameters with which a bot sends an order of a role."""
    params = {"leverage": 5, "marginMode": "isolated", "clientOrderId": name}
    more: dict[str, dict[str, Any]] = {
        "entry": {"timeInForce": "IOC"},
        "exit": {"reduceOnly": True},
        "stop": {"stopLossPrice": 98.0},
        "target": {"reduceOnly": True},
    }
    return params | more[role]


async def enter(client: Client, size: int = 10, name: str = "1-entry") -> dict[str, Any]:
    """Open a long position of `size` contracts."""
    order: dict[str, Any] = await client.ccxt.create_order(
        SYMBOL, "limit", "buy", size, 100.3, bot_order("entry", name)
    )
    client.advance(5)
    return order


def test_market_data() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        contract = ccxt.market(SYMBOL)
        assert (contract["contractSize"], contract["precision"]["price"]) == (1.0, 0.1)
        assert (contract["limits"]["leverage"]["max"], contract["active"]) == (50.0, True)
        assert (contract["taker"], contract["maker"]) == (0.0006, 0.0002)
        assert ccxt.market(OTHER)["contractSize"] == 0.1
        assert await ccxt.fetch_time() == START + PAST * MINUTE
        assert (await ccxt.fetch_status())["status"] == "ok"
        client.advance(3 * MINUTE)
        candles = await ccxt.fetch_ohlcv(SYMBOL, "1m", START, 200)
        assert [row[0] for row in candles] == [START + i * MINUTE for i in range(PAST + 3)]
        assert candles[-1] == [START + (PAST + 2) * MINUTE, 101.0, 103.5, 101.0, 103.5, 26.0]
        assert (await ccxt.fetch_ohlcv(SYMBOL, "5m", START, 1))[0][1:5] == [100.0] * 4
        ticker = await ccxt.fetch_ticker(SYMBOL)
        assert (ticker["last"], ticker["bid"], ticker["ask"]) == (103.5, 103.4, 103.6)
        assert (await ccxt.fetch_tickers())[OTHER]["last"] == 10.0
        assert (await ccxt.fetch_bids_asks())[OTHER]["bid"] == 9.99
        book = await ccxt.fetch_order_book(SYMBOL)
        assert book["asks"][0] == [103.6, 100.0]
        assert len((await ccxt.fetch_order_book(SYMBOL, 20))["bids"]) == 20
        assert (await ccxt.fetch_mark_price(SYMBOL))["markPrice"] == pytest.approx(103.5, abs=0.5)
        assert len(await ccxt.fetch_trades(SYMBOL)) == 39  # 13 prices a minute
        rate = await ccxt.fetch_funding_rate(SYMBOL)
        assert (rate["fundingRate"], rate["previousFundingTimestamp"]) == (0.0001, SETTLED)
        assert [r["fundingRate"] for r in await ccxt.fetch_funding_rate_history(SYMBOL)] == [0.0001]
        [tier] = await ccxt.fetch_market_leverage_tiers(SYMBOL)
        assert (tier["maxLeverage"], tier["maintenanceMarginRate"]) == (50.0, 0.01)
        assert await client.code_of(ccxt.fetch_ohlcv(SYMBOL, "3m", START)) == "100001 OrderNotFound"

    on(market(100.0, 101.0, (101.0, 103.5)), story)


def test_market_data_of_the_spot_host() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        client.advance(2 * MINUTE)
        rates = await ccxt.fetch_funding_rates()
        assert set(rates) == {SYMBOL, OTHER}
        single = await ccxt.fetch_funding_rate(SYMBOL)
        for key in ("symbol", "fundingRate", "fundingTimestamp", "interval"):
            assert rates[SYMBOL][key] == single[key]
        tiers = await ccxt.fetch_leverage_tiers([SYMBOL])
        assert list(tiers) == [SYMBOL]
        [tier] = tiers[SYMBOL]
        [futures] = await ccxt.fetch_market_leverage_tiers(SYMBOL)
        assert {**tier, "info": {}} == {**futures, "info": {}}
        spot = await ccxt.fetch_mark_prices()  # those of the spot market alone
        assert set(spot) == {"BTC/USDT", "ETH/USDT"}
        mark = (await ccxt.fetch_mark_price(SYMBOL))["markPrice"]
        assert spot["BTC/USDT"]["info"]["value"] == mark
        interest = (await ccxt.fetch_open_interest(SYMBOL))["openInterestAmount"]
        contract = await ccxt.futuresPublicGetContractsSymbol({"symbol": "XBTUSDTM"})
        assert interest == float(contract["data"]["openInterest"]) > 0.0
        unknown = {"tradeType": "FUTURES", "marginMode": "CROSS", "symbol": "NOUSDTM"}
        asked = ccxt.utaGetMarketPositionTiers(unknown)
        assert await client.code_of(asked) == "100003 ExchangeError"
        most = await ccxt.futuresPrivateGetMarginMaxWithdrawMargin({"symbol": "XBTUSDTM"})
        assert most["data"] == "0"

    on(market(100.0, 100.0), story)


def test_a_whole_life_from_entry_to_stop() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        order = await enter(client)
        by_id = await ccxt.fetch_order(order["id"], SYMBOL)
        by_name = await ccxt.fetch_order(None, SYMBOL, {"clientOrderId": "1-entry"})
        assert by_id["info"] == by_name["info"]
        assert (by_id["status"], by_id["filled"], by_id["average"]) == ("closed", 10.0, 100.1)

        stop = await ccxt.create_order(
            SYMBOL, "market", "sell", 10, None, bot_order("stop", "2-stop")
        )
        target = await ccxt.create_order(
            SYMBOL, "limit", "sell", 10, 104.0, bot_order("target", "3-target")
        )
        client.advance(5)
        [waiting] = await ccxt.fetch_open_orders(SYMBOL, None, None, {"trigger": True})
        assert (waiting["id"], waiting["triggerPrice"]) == (stop["id"], 98.0)
        assert waiting["reduceOnly"]
        [resting] = await ccxt.fetch_open_orders(SYMBOL)
        assert (resting["id"], resting["price"]) == (target["id"], 104.0)

        [position] = await ccxt.fetch_positions()
        shown = {key: position[key] for key in ("symbol", "side", "contracts", "marginMode")}
        assert shown == {
            "symbol": SYMBOL,
            "side": "long",
            "contracts": 10.0,
            "marginMode": "isolated",
        }
        assert position["liquidationPrice"] == pytest.approx(100.1 * (1 - (0.2 - 0.0106) / 1.0106))
        await ccxt.add_margin(SYMBOL, 50)
        assert (await ccxt.fetch_position(SYMBOL))["initialMargin"] == pytest.approx(250.2)
        await ccxt.reduce_margin(SYMBOL, 50)
        assert (await ccxt.fetch_position(SYMBOL))["initialMargin"] == pytest.approx(200.2)

        client.advance(2 * MINUTE)
        assert await ccxt.fetch_positions() == []
        assert (await ccxt.fetch_position(SYMBOL))["contracts"] == 0.0
        assert await ccxt.fetch_open_orders(SYMBOL, None, None, {"trigger": True}) == []
        assert await ccxt.fetch_open_orders(SYMBOL) == []
        assert (await ccxt.fetch_order(stop["id"], SYMBOL))["status"] == "closed"
        assert (await ccxt.fetch_order(target["id"], SYMBOL))["status"] == "canceled"
        assert len(await ccxt.fetch_closed_orders(SYMBOL)) == 3

        trades = await ccxt.fetch_my_trades(SYMBOL)
        assert [(t["order"], t["side"], t["amount"], t["price"]) for t in trades] == [
            (order["id"], "buy", 10.0, 100.1),
            (stop["id"], "sell", 10.0, 96.9),
        ]
        assert trades[1]["fee"]["cost"] == pytest.approx(10 * 96.9 * 0.0006)
        assert len(await ccxt.fetch_order_trades(stop["id"], SYMBOL)) == 1
        [paid] = await ccxt.fetch_funding_history(SYMBOL)
        assert paid["amount"] == pytest.approx(-0.1)
        ledger = await ccxt.fetch_ledger("USDT")
        assert [entry["type"] for entry in ledger] == ["transfer", "trade"]
        balance = (await ccxt.fetch_balance())["USDT"]
        lost = 10 * (96.9 - 100.1) - 10 * (96.9 + 100.1) * 0.0006 - 0.1
        assert balance["total"] == balance["free"] == pytest.approx(10_000.0 + lost)
        [over] = await ccxt.fetch_positions_history([SYMBOL])
        assert over["info"]["type"] == "CLOSE_LONG"

        truth = client.control.truth()
        assert truth["positions"] == truth["orders"] == []
        assert [f["fill_id"] for f in truth["fills"]] == [t["id"] for t in trades]
        assert [f["id"] for f in truth["funding"]] == [str(int(paid["id"]))]
        assert truth["wallet"] == pytest.approx(balance["total"])
        assert {o["client_id"]: o["filled"] for o in truth["finished"]} == {
            "1-entry": 10,
            "2-stop": 10,
            "3-target": 0,
        }

    on(market(100.0, 97.0, 97.0), story)


def test_a_target_and_an_exit() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        await enter(client)
        target = await ccxt.create_order(
            SYMBOL, "limit", "sell", 4, 102.0, bot_order("target", "2-target")
        )
        client.advance(2 * MINUTE)
        done = await ccxt.fetch_order(target["id"], SYMBOL)
        assert (done["status"], done["filled"], done["average"]) == ("closed", 4.0, 102.0)
        leave = await ccxt.create_order(
            SYMBOL, "market", "sell", 6, None, bot_order("exit", "3-exit")
        )
        client.advance(5)
        assert (await ccxt.fetch_order(leave["id"], SYMBOL))["filled"] == 6.0
        assert await ccxt.fetch_positions() == []
        trades = await ccxt.fetch_my_trades(SYMBOL)
        assert [t["takerOrMaker"] for t in trades] == ["taker", "maker", "taker"]

    on(market(100.0, 103.0), story)


def test_people_trade_with_other_orders() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        await ccxt.create_order(SYMBOL, "market", "buy", 3, None, {"leverage": 2})
        await ccxt.create_order(SYMBOL, "limit", "buy", 2, 99.0, {"leverage": 2})
        await ccxt.create_order(OTHER, "market", "sell", 5, None, {"leverage": 2})
        await ccxt.create_market_order_with_cost(OTHER, "sell", 20.0, {"leverage": 2})
        client.advance(5)
        held = {p["symbol"]: (p["side"], p["contracts"]) for p in await ccxt.fetch_positions()}
        assert held == {SYMBOL: ("long", 3.0), OTHER: ("short", 25.0)}
        profit = {"leverage": 2, "takeProfitPrice": 102.0}
        await ccxt.create_order(SYMBOL, "market", "sell", 3, None, profit)
        many = [
            {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 1, "price": price}
            for price in (97.0, 96.0)
        ]
        assert len(await ccxt.create_orders(many)) == 2
        await ccxt.close_position(OTHER)
        client.advance(2 * MINUTE)
        assert [p["symbol"] for p in await ccxt.fetch_positions()] == [SYMBOL]
        client.advance(MINUTE)
        assert [p["contracts"] for p in await ccxt.fetch_positions()] == [2.0]

    on(market(100.0, (100.0, 98.9), 103.0), story)


def test_cancelling() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        await enter(client)
        stop = await ccxt.create_order(
            SYMBOL, "market", "sell", 10, None, bot_order("stop", "2-stop")
        )
        names = [f"t-{i}" for i in range(5)]
        made = [
            await ccxt.create_order(SYMBOL, "limit", "sell", 1, 104.0, bot_order("target", name))
            for name in names
        ]
        client.advance(5)
        await ccxt.cancel_order(made[0]["id"], SYMBOL)
        await ccxt.cancel_order(None, SYMBOL, {"clientOrderId": "t-1"})
        await ccxt.cancel_orders([made[2]["id"]], SYMBOL)
        await ccxt.cancel_orders([], SYMBOL, {"clientOrderIds": ["t-3"]})
        assert len(await ccxt.fetch_open_orders(SYMBOL)) == 5  # cancelling takes its time
        client.advance(5)
        assert [o["clientOrderId"] for o in await ccxt.fetch_open_orders(SYMBOL)] == ["t-4"]
        gone = ccxt.cancel_order(made[0]["id"], SYMBOL)
        assert await client.code_of(gone) == "100004 BadRequest"
        of_another = ccxt.cancel_order(None, OTHER, {"clientOrderId": "t-4"})
        assert await client.code_of(of_another) == "100004 BadRequest"
        [answer] = await ccxt.cancel_orders([], OTHER, {"clientOrderIds": ["t-4"]})
        assert answer["info"]["code"] == "100004"
        client.advance(5)
        assert len(await ccxt.fetch_open_orders(SYMBOL)) == 1
        await ccxt.cancel_all_orders(SYMBOL, {"version": "v3"})
        client.advance(5)
        assert await ccxt.fetch_open_orders(SYMBOL) == []
        assert len(await ccxt.fetch_open_orders(SYMBOL, None, None, {"trigger": True})) == 1
        await ccxt.cancel_all_orders(SYMBOL, {"trigger": True})
        client.advance(5)
        assert (await ccxt.fetch_order(stop["id"], SYMBOL))["status"] == "canceled"
        assert client.control.truth()["orders"] == []

    on(market(100.0), story)


def test_refusals_come_with_the_exchanges_code() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt

        async def code(size: int, price: float, **params: Any) -> str:
            wanted = bot_order("entry", "x") | params
            return await client.code_of(
                ccxt.create_order(SYMBOL, "limit", "buy", size, price, wanted)
            )

        assert await code(1, 106.0) == "300011 InvalidOrder"
        assert await code(1, 100.0, leverage=51) == "300016 ExchangeError"
        assert await code(1, 100.0, marginMode="cross") == "330005 InvalidOrder"
        assert await code(1_000, 100.0) == "300003 InsufficientFunds"
        assert await code(1, 100.0, reduceOnly=True) == "300009 InvalidOrder"
        assert await code(1, 100.0, clientOrderId="a.b") == "100001 OrderNotFound"
        await enter(client)
        assert await code(1, 100.0, clientOrderId="1-entry") == "300018 ExchangeError"
        missing = ccxt.fetch_order(None, SYMBOL, {"clientOrderId": "nobody"})
        assert await client.code_of(missing) == "100001 OrderNotFound"
        assert client.control.truth()["duplicates"] == ["1-entry"]

    on(market(100.0), story)


def test_settings_and_key() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        assert (await ccxt.utaPrivateGetAccountMode())["data"]["selfAccountMode"] == "CLASSIC"
        assert (await ccxt.fetch_position_mode(SYMBOL))["hedged"] is False
        assert (await ccxt.fetch_margin_mode(SYMBOL))["marginMode"] == "isolated"
        assert (await ccxt.fetch_trading_fee(SYMBOL))["taker"] == 0.0006
        await ccxt.set_leverage(7, SYMBOL)
        assert (await ccxt.fetch_leverage(SYMBOL))["longLeverage"] == 7
        await ccxt.transfer("USDT", 5, "spot", "swap")
        await ccxt.transfer("USDT", 3, "swap", "spot", {"version": "v3"})
        assert client.control.truth()["wallet"] == 10_002.0
        assert (await ccxt.privateGetUserApiKey())["data"]["permission"] == "General,Futures"
        control = client.control
        for wish in (
            {"do": "account", "mode": "UNIFIED"},
            {"do": "withdrawal", "enabled": True},
            {"do": "position_mode", "mode": 1},
            {"do": "margin_mode", "symbol": SYMBOL, "mode": "CROSS"},
            {"do": "tick_size", "symbol": "BTC-USDT-PERP", "tick": 0.5},
            {"do": "pause", "symbol": OTHER},
        ):
            assert control("POST", "/control/market", **wish) == {}
        assert (await ccxt.utaPrivateGetAccountMode())["data"]["selfAccountMode"] == "UNIFIED"
        permission = (await ccxt.privateGetUserApiKey())["data"]["permission"]
        assert permission == "General,Futures,Transfer"
        assert (await ccxt.fetch_position_mode(SYMBOL))["hedged"] is True
        order = ccxt.create_order(SYMBOL, "market", "buy", 1)
        assert await client.code_of(order) == "330012 InvalidOrder"
        assert (await ccxt.fetch_margin_mode(SYMBOL))["marginMode"] == "cross"
        await ccxt.load_markets(True, {"marginables": False})
        assert ccxt.market(SYMBOL)["precision"]["price"] == 0.5
        assert not ccxt.market(OTHER)["active"]
        control("POST", "/control/market", do="delist", symbol=OTHER)
        await ccxt.load_markets(True, {"marginables": False})
        assert OTHER not in ccxt.markets

    on(market(100.0), story)


def test_a_client_that_goes_by_its_own_clock_is_let_in() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        del ccxt.milliseconds  # as it comes: the time of this host, years after the market's
        await ccxt.load_markets(reload=True)
        assert (await ccxt.fetch_balance())["USDT"]["total"] == 10_000.0
        client.control("POST", "/control/faults", faults=[{"kind": "skew", "ms": 6_000}])
        assert await client.code_of(ccxt.fetch_positions()) == "400002 InvalidNonce"

    on(market(100.0), story)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"apiKey": "other"}, "400003 AuthenticationError"),
        ({"secret": "other"}, "400004 AuthenticationError"),
        ({"password": "other"}, "400004 AuthenticationError"),
    ],
)
def test_a_wrong_key_is_told_apart(wrong: dict[str, str], code: str) -> None:
    async def story(client: Client) -> None:
        assert await client.code_of(client.ccxt.fetch_positions()) == code

    on(market(100.0), story, **wrong)


def test_a_wrong_clock_signature_or_header_is_told_apart() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        client.now_ms += 5_001
        assert await client.code_of(ccxt.fetch_positions()) == "400002 InvalidNonce"
        client.now_ms -= 5_001
        sign = ccxt.sign

        def other(name: str, value: str) -> Callable[..., Any]:
            def changed(*args: Any, **kwargs: Any) -> Any:
                signed = sign(*args, **kwargs)
                signed["headers"] = signed["headers"] | {name: value}
                return signed

            return changed

        ccxt.sign = other("KC-API-SIGN", "bm8=")
        assert await client.code_of(ccxt.fetch_positions()) == "400005 AuthenticationError"
        ccxt.sign = other("KC-API-PASSPHRASE", "")
        assert await client.code_of(ccxt.fetch_positions()) == "400001 AuthenticationError"

    on(market(100.0), story)


def test_every_reply_says_what_is_left_of_its_pool() -> None:
    async def story(client: Client) -> None:
        ccxt = client.ccxt
        left = []
        for _ in range(2):
            await ccxt.cancel_all_orders(SYMBOL)
            left.append(ccxt.last_response_headers["gw-ratelimit-remaining"])
        assert left == ["1200", "400"]
        refused = ccxt.cancel_all_orders(SYMBOL)
        assert await client.code_of(refused) == "429000 RateLimitExceeded"
        assert ccxt.last_response_headers["gw-ratelimit-remaining"] == "0"
        assert await client.code_of(ccxt.fetch_positions()) == "429000 RateLimitExceeded"
        await ccxt.fetch_time()  # another pool
        client.advance(30_000)
        await ccxt.fetch_positions()

    on(market(100.0), story)
