"""Public market data in the wire's shapes: contracts, tickers, books, rates."""

from dataclasses import replace
from typing import Any, NamedTuple

from bot.core.kernel.prices import market_price
from bot.core.market import FUNDING_INTERVAL_MS, ticks_per_unit
from ops.exchange.market import Market, next_settlement
from ops.exchange.names import (
    decimal_text,
    nanoseconds,
    short,
    side_word,
    trade_id,
    wire_base,
    wire_symbol,
)
from ops.exchange.validation import MAX_PRICE, MAX_SIZE, PRICE_BAND, largest_order

BOOK_LEVELS = 25
RISK_LIMIT = 100_000_000  # USDT; one level that nobody reaches
RATE_CAP = 0.003  # what the exchange says; recorded rates are served as they are
FIRST_OPEN_MS = 1_585_555_200_000  # KuCoin opened its USDT perpetuals in 2020


def contract_view(market: Market, k: int, now: int) -> dict[str, Any]:
    """Return a contract as `GET /api/v1/contracts/{symbol}` shows it."""
    return _terms(market, k) | _fees_and_limits(market, k) | _prices(market, k, now)


def _terms(market: Market, k: int) -> dict[str, Any]:
    """Return what a contract is."""
    base, name = wire_base(market.symbols[k]), wire_symbol(market.symbols[k])
    spec = market.exchange.specs[k]
    return {
        "symbol": name,
        "rootSymbol": "USDT",
        "type": "FFWCSX",
        "firstOpenDate": FIRST_OPEN_MS,
        "expireDate": None,
        "settleDate": None,
        "baseCurrency": base,
        "quoteCurrency": "USDT",
        "settleCurrency": "USDT",
        "status": market.status[k],
        "lotSize": 1,
        "tickSize": spec.tick,
        "indexPriceTickSize": spec.tick,
        "multiplier": spec.multiplier,
        "isDeleverage": True,
        "isQuanto": True,
        "isInverse": False,
        "markMethod": "FairPrice",
        "fairMethod": "FundingRate",
        "fundingBaseSymbol": f".{base}INT8H",
        "fundingQuoteSymbol": ".USDTINT8H",
        "fundingRateSymbol": f".{name}FPI8H",
        "indexSymbol": f".K{base}USDT",
        "settlementSymbol": "",
        "sourceExchanges": ["kucoin"],
        "premiumsSymbol1M": f".{name}PI",
        "premiumsSymbol8H": f".{name}PI8H",
        "fundingBaseSymbol1M": f".{base}INT",
        "fundingQuoteSymbol1M": ".USDTINT",
        "supportCross": True,
    }


def _fees_and_limits(market: Market, k: int) -> dict[str, Any]:
    """Return what trading a contract costs, and how much of it one may hold."""
    spec, params = market.exchange.specs[k], market.exchange.params
    return {
        "makerFeeRate": params.maker_fee,
        "takerFeeRate": params.taker_fee,
        "takerFixFee": 0.0,
        "makerFixFee": 0.0,
        "settlementFee": None,
        "maxOrderQty": MAX_SIZE,
        "marketMaxOrderQty": int(largest_order(spec, limit=False)),
        "maxPrice": MAX_PRICE,
        "initialMargin": round(1.0 / spec.max_leverage, 6),
        "maintainMargin": spec.maintenance_rate,
        "maxLeverage": int(spec.max_leverage),
        "maxRiskLimit": RISK_LIMIT,
        "minRiskLimit": RISK_LIMIT,
        "riskStep": RISK_LIMIT // 2,
        "k": 490.0,
        "m": 300.0,
        "f": 1.3,
        "mmrLimit": 0.3,
        "mmrLevConstant": spec.max_leverage,
    }


def _prices(market: Market, k: int, now: int) -> dict[str, Any]:
    """Return what moves: prices, the day's volume, funding."""
    mark, last = market.mark(k), market.exchange.last[k]
    bars = market.candles.day(k, now)
    volume = sum(bar.volume for bar in bars)
    first = bars[0].open if bars else last
    _, rate = market.settled(k, now)
    settlement = next_settlement(now)
    return {
        "fundingFeeRate": rate,
        "predictedFundingFeeRate": rate,
        "fundingRateGranularity": FUNDING_INTERVAL_MS,
        "fundingRateCap": RATE_CAP,
        "fundingRateFloor": -RATE_CAP,
        "nextFundingRateTime": settlement - now,
        "nextFundingRateDateTime": settlement,
        "openInterest": open_interest(market, k, now),
        "turnoverOf24h": sum(bar.volume * bar.close for bar in bars),
        "volumeOf24h": volume,
        "markPrice": mark,
        "indexPrice": mark,
        "lastTradePrice": last,
        "lowPrice": min((bar.low for bar in bars), default=last),
        "highPrice": max((bar.high for bar in bars), default=last),
        "priceChgPct": round((last - first) / first, 4) if first else 0.0,
        "priceChg": last - first,
        "buyLimit": mark * (1.0 + PRICE_BAND),
        "sellLimit": mark * (1.0 - PRICE_BAND),
    }


def open_interest(market: Market, k: int, now: int) -> str:
    """Return the open contracts of the market: as many as traded in the last 24 hours."""
    volume = sum(bar.volume for bar in market.candles.day(k, now))
    return str(round(volume / market.exchange.specs[k].multiplier))


def day_view(market: Market, k: int, now: int) -> dict[str, Any]:
    """Return the last 24 hours as the topic `snapshot` shows them."""
    prices = _prices(market, k, now)
    last = prices["lastTradePrice"]
    return {
        "highPrice": prices["highPrice"],
        "lastPrice": last,
        "lowPrice": prices["lowPrice"],
        "price24HoursBefore": short(last - prices["priceChg"]),
        "priceChg": short(prices["priceChg"]),
        "priceChgPct": prices["priceChgPct"],
        "symbol": wire_symbol(market.symbols[k]),
        "ts": nanoseconds(now),
        "turnover": prices["turnoverOf24h"],
        "volume": prices["volumeOf24h"],
    }


def ticker_view(market: Market, k: int, now: int) -> dict[str, Any]:
    """Return a ticker as `GET /api/v1/ticker` shows it."""
    bids, asks = book_levels(market, k, 1)
    trade = market.trades[k][-1] if market.trades[k] else None
    return {
        "sequence": market.sequences[k],
        "symbol": wire_symbol(market.symbols[k]),
        "side": side_word(trade.side if trade else 1),
        "size": trade.contracts if trade else 0,
        "tradeId": trade_id(f"t{trade.number if trade else 0}"),
        "price": decimal_text(market.exchange.last[k]),
        "bestBidPrice": decimal_text(bids[0][0]) if bids else None,
        "bestBidSize": int(bids[0][1]) if bids else None,
        "bestAskPrice": decimal_text(asks[0][0]) if asks else None,
        "bestAskSize": int(asks[0][1]) if asks else None,
        "ts": nanoseconds(trade.ms if trade else now),
    }


def book_levels(market: Market, k: int, levels: int) -> tuple[list[list[float]], list[list[float]]]:
    """Return bids and asks, best first, as [price, contracts]: what an order of now would meet."""
    return levels_at(market, k, levels, standing(market, k))


class Standing(NamedTuple):
    """What a book follows from."""

    last: float = 0.0
    """0: nothing trades"""
    taken: float = 0.0
    """contracts that have traded at `last`"""
    tick: float = 0.0


def standing(market: Market, k: int) -> Standing:
    """Return where the market of symbol `k` stands."""
    exchange = market.exchange
    last = exchange.last[k] if market.status[k] == "Open" else 0.0
    return Standing(last, exchange.taken[k], exchange.specs[k].tick)


def levels_at(
    market: Market, k: int, levels: int, state: Standing
) -> tuple[list[list[float]], list[list[float]]]:
    """Return the book of symbol `k` where the market stood or stands.

    Each level is one slippage further and has the depth of a quote, the best one less what has
    been taken of it.
    """
    exchange, (last, taken, tick) = market.exchange, state
    if last <= 0.0:
        return [], []
    spec = exchange.specs[k]
    if tick != spec.tick:
        spec = replace(spec, tick=tick, ticks_per_unit=ticks_per_unit(tick))
    skipped, used = divmod(taken, exchange.depth)
    sides: list[list[list[float]]] = []
    for side in (-1, 1):
        price, rows = last, []
        for i in range(int(skipped) + levels):
            price = market_price(price, side, exchange.params, spec)
            if i >= skipped:
                rows.append([price, int(exchange.depth - (used if i == skipped else 0.0))])
        sides.append(rows)
    return sides[0], sides[1]


def book_view(market: Market, k: int, levels: int, now: int) -> dict[str, Any]:
    """Return an order book as `GET /api/v1/level2/snapshot` shows it."""
    bids, asks = book_levels(market, k, levels)
    return {
        "sequence": market.sequences[k],
        "symbol": wire_symbol(market.symbols[k]),
        "bids": bids,
        "asks": asks,
        "ts": nanoseconds(now),
    }


def trade_views(market: Market, k: int) -> list[dict[str, Any]]:
    """Return the market's newest trades as `GET /api/v1/trade/history` shows them, newest first."""
    return [
        {
            "sequence": trade.number,
            "contractId": 1,
            "tradeId": trade_id(f"t{trade.number}"),
            "makerOrderId": "0",
            "takerOrderId": "0",
            "ts": nanoseconds(trade.ms),
            "size": trade.contracts,
            "price": decimal_text(trade.price),
            "side": side_word(trade.side),
        }
        for trade in reversed(market.trades[k])
    ]


def funding_view(market: Market, k: int, now: int) -> dict[str, Any]:
    """Return the funding rate as `GET /api/v1/funding-rate/{symbol}/current` shows it."""
    settled_ms, rate = market.settled(k, now)
    return {
        "symbol": f".{wire_symbol(market.symbols[k])}FPI8H",
        "granularity": FUNDING_INTERVAL_MS,
        "timePoint": settled_ms,
        "value": rate,
        "predictedValue": None,
        "dailyInterestRate": 0.0003,
        "fundingRateCap": RATE_CAP,
        "fundingRateFloor": -RATE_CAP,
        "period": 1,
        "fundingTime": next_settlement(now),
    }


def unified_funding_view(market: Market, k: int, now: int) -> dict[str, Any]:
    """Return a funding rate as `GET /api/ua/v2/market/funding-rate` lists it."""
    _, rate = market.settled(k, now)
    return {
        "symbol": wire_symbol(market.symbols[k]),
        "nextFundingRate": decimal_text(rate),
        "fundingTime": next_settlement(now),
        "fundingRateCap": decimal_text(RATE_CAP),
        "fundingRateFloor": decimal_text(-RATE_CAP),
        "currentGranularity": FUNDING_INTERVAL_MS,
        "newGranularity": None,
        "newGranularityStartTime": None,
    }


def tier_view(market: Market, k: int) -> dict[str, Any]:
    """Return the one risk level as `GET /api/ua/v1/market/position-tiers` lists it."""
    spec = market.exchange.specs[k]
    return {
        "symbol": wire_symbol(market.symbols[k]),
        "tier": 1,
        "maxSize": str(RISK_LIMIT),
        "minSize": "0",
        "maxLeverage": decimal_text(spec.max_leverage),
        "initialMarginRate": decimal_text(round(1.0 / spec.max_leverage, 6)),
        "maintainMarginRate": decimal_text(spec.maintenance_rate),
    }


def risk_view(market: Market, k: int) -> dict[str, Any]:
    """Return the one risk level as `GET /api/v1/contracts/risk-limit/{symbol}` shows it."""
    spec = market.exchange.specs[k]
    return {
        "symbol": wire_symbol(market.symbols[k]),
        "level": 1,
        "maxRiskLimit": RISK_LIMIT,
        "minRiskLimit": 0,
        "maxLeverage": int(spec.max_leverage),
        "initialMargin": round(1.0 / spec.max_leverage, 6),
        "maintainMargin": spec.maintenance_rate,
    }
