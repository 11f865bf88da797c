"""What ccxt asks the sockets of the unified API for, even on a classic account (API reference 8.2).

Frames are of another form than those of the classic sockets: a channel and a symbol instead of a
topic, `T` and `d` instead of subject and data, and no numbers. Inside the simulator a channel of a
symbol is a topic too: `mark-price:XBTUSDTM`.
"""

from collections.abc import Container, Mapping
from typing import Any

from ops.exchange.names import decimal_text, nanoseconds
from ops.exchange.socket_topics import MOST_TEXT, SYMBOL, FrameError, compact

MARK_PRICE = "mark-price"
FUNDING_FEE = "funding-fee"
POSITIONS = "positionAll"
TRADE_TYPES = {MARK_PRICE: "FUTURES", FUNDING_FEE: "FUTURES", POSITIONS: "TRADE"}
"""what has to be asked of each channel; TRADE is a classic account"""


def read_channel(
    asked: Mapping[str, Any], *, private: bool, contracts: Container[str] | None = None
) -> list[str]:
    """Return the topic that a subscription asks for, in a list; its symbol has to be one of
    `contracts`, None is any. Raises FrameError."""
    channel = asked.get("channel")
    wanted = TRADE_TYPES.get(channel) if isinstance(channel, str) else None
    if wanted is None:
        raise FrameError(404, f"channel {str(channel)[:MOST_TEXT]} is not found")
    if asked.get("tradeType") != wanted:
        raise FrameError(400, f"expected tradeType {wanted} for channel {channel}")
    if channel == POSITIONS:
        if not private:
            raise FrameError(403, f"channel {channel} is private, the token is not")
        return [POSITIONS]
    symbol = asked.get("symbol")
    if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
        raise FrameError(400, f"missing `symbol` for topic: {channel}")
    if contracts is not None and symbol not in contracts:
        raise FrameError(404, f"symbol {symbol} is not found")
    return [f"{channel}:{symbol}"]


def answer(name: str, reason: str = "") -> str:
    """Return what a client hears of its wish: that it is granted, or why not."""
    return compact({"id": name, "result": not reason} | ({"reason": reason} if reason else {}))


def welcome(name: str, ping_interval_ms: int, ping_timeout_ms: int) -> str:
    """Return the first frame of a connection; ccxt does not read it."""
    times = {"pingInterval": ping_interval_ms, "pingTimeout": ping_timeout_ms}
    return compact({"sessionId": name, "data": "welcome", **times})


def push(subject: str, now: int, data: Mapping[str, Any]) -> str:
    """Return the frame of a push; `now` is market time in ms."""
    return compact({"T": subject, "P": str(nanoseconds(now)), "d": data})


def mark_view(name: str, mark: float, interest: str, now: int) -> dict[str, Any]:
    """Return the data of `mark-price`; `interest` is the open interest in contracts."""
    text = decimal_text(mark)
    return {"s": name, "mp": text, "ip": text, "oi": interest, "ts": now}


def funding_view(name: str, rate: float, settled_ms: int, next_ms: int) -> dict[str, Any]:
    """Return the data of `funding-fee`."""
    return {
        "s": name,
        "fr": decimal_text(rate),
        "ft": settled_ms,
        "nt": next_ms,
        "gl": next_ms - settled_ms,
    }


def positions_view(position: Mapping[str, Any], mmr: float, now: int) -> dict[str, Any]:
    """Return the data of `positionAll` from a position as REST shows it."""

    def text(key: str) -> str:
        return decimal_text(position[key])

    value = abs(position["markValue"])
    return {
        "pi": position["id"],
        "s": position["symbol"],
        "mM": position["marginMode"],
        "q": text("currentQty"),
        "eP": text("avgEntryPrice"),
        "pV": decimal_text(value),
        "mP": text("markPrice"),
        "lP": text("liquidationPrice"),
        "bP": text("bankruptPrice"),
        "l": text("leverage"),
        "uPL": text("unrealisedPnl"),
        "rPL": text("realisedPnl"),
        "iM": text("posInit"),
        "mmr": decimal_text(mmr),
        "mtM": decimal_text(value * mmr),
        "U": str(nanoseconds(now)),
        "O": nanoseconds(position["openingTimestamp"] or now),
    }
