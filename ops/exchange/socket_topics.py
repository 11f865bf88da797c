"""The topics of the wire simulator's sockets, and the frames that go out.

A subscription names one topic, or one topic for several symbols (`/contractMarket/ticker:A,B`).
What is pushed carries one symbol, except for the topics of an account that were subscribed plainly.
"""

import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

MOST_SYMBOLS = 100  # in one subscription
MOST_TEXT = 200  # of a client's own words in an error


class Symbols(Enum):
    """What may stand behind the colon of a topic."""

    NONE = "none"
    MAY = "may"
    MUST = "must"
    CANDLES = "candles"
    """a symbol and the length of its bars"""


@dataclass(frozen=True, slots=True)
class Topic:
    """Whom a topic is for, and what stands behind its colon."""

    symbols: Symbols
    private: bool = False
    with_symbol: str = ""
    """the subject for those who subscribed with a symbol to what is published without"""


TOPICS = {
    "/contractMarket/ticker": Topic(Symbols.MUST),
    "/contractMarket/tickerV2": Topic(Symbols.MUST),
    "/contractMarket/limitCandle": Topic(Symbols.CANDLES),
    "/contractMarket/level2": Topic(Symbols.MUST),
    "/contractMarket/level2Depth5": Topic(Symbols.MUST),
    "/contractMarket/level2Depth50": Topic(Symbols.MUST),
    "/contractMarket/execution": Topic(Symbols.MUST),
    "/contractMarket/snapshot": Topic(Symbols.MUST),
    "/contract/instrument": Topic(Symbols.MUST),
    "/contract/announcement": Topic(Symbols.NONE),
    "/contractMarket/tradeOrders": Topic(Symbols.MAY, True, "symbolOrderChange"),
    "/contractMarket/advancedOrders": Topic(Symbols.MAY, True, "stopOrder"),
    "/contractAccount/wallet": Topic(Symbols.NONE, True),
    "/contract/position": Topic(Symbols.MUST, True),
}
SYMBOL = re.compile(r"[A-Z0-9]{1,30}")
_CANDLES = re.compile(
    r"[A-Z0-9]{1,30}_(1min|5min|15min|30min|1hour|2hour|4hour|8hour|12hour|1day|1week)"
)


class FrameError(Exception):
    """A connection or a frame is refused, with the code and the words of the error frame."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def read_topics(
    text: Any, *, private: bool, spot: bool, contracts: Container[str] | None = None
) -> list[str]:
    """Return the single topics that a subscription asks for.

    `private` and `spot` are those of the socket's token; a symbol has to be one of `contracts`,
    None is any. Raises FrameError.
    """
    if not isinstance(text, str) or not text:
        raise FrameError(406, "topic is required")
    shown = text[:MOST_TEXT]
    name, colon, behind = text.partition(":")
    topic = TOPICS.get(name)
    if topic is None or spot:  # the spot socket serves no topic of the contracts
        raise FrameError(404, f"topic {shown} is not found")
    if topic.private and not private:
        raise FrameError(403, f"topic {shown} is private, the token is not")
    if not colon and topic.symbols in (Symbols.NONE, Symbols.MAY):
        return [name]
    symbols = behind.split(",")
    pattern = _CANDLES if topic.symbols is Symbols.CANDLES else SYMBOL
    if topic.symbols is Symbols.NONE or not all(map(pattern.fullmatch, symbols)):
        raise FrameError(400, f"topic {shown} is invalid")
    if len(symbols) > MOST_SYMBOLS:
        most = f"exceed max subscription count limitation of {MOST_SYMBOLS} per time"
        raise FrameError(509, most)
    if contracts is not None and not all(one.partition("_")[0] in contracts for one in symbols):
        raise FrameError(404, f"topic {shown} is not found")
    return [f"{name}:{symbol}" for symbol in symbols]


def forms(topic: str, subject: str, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return under which (topic, subject) a push goes out.

    >>> forms("/contractMarket/tradeOrders", "orderChange", {"symbol": "XBTUSDTM"})[1]
    ('/contractMarket/tradeOrders:XBTUSDTM', 'symbolOrderChange')
    """
    plain = (topic, subject)
    known = TOPICS.get(topic)
    if known is None or not known.with_symbol or "symbol" not in data:
        return [plain]
    return [plain, (f"{topic}:{data['symbol']}", known.with_symbol)]


def compact(frame: Mapping[str, Any]) -> str:
    """Return a frame as text, the way the exchange writes JSON."""
    return json.dumps(frame, separators=(",", ":"))


def message(topic: str, subject: str, number: int, data: Mapping[str, Any]) -> str:
    """Return the frame of a push."""
    return compact(
        {"topic": topic, "type": "message", "subject": subject, "sn": number, "data": data}
    )


def error(name: str, code: int, text: str) -> str:
    """Return an error frame."""
    return compact({"id": name, "type": "error", "code": code, "data": text})
