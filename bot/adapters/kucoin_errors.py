"""What a failed call to KuCoin means: our own table, keyed by KuCoin's code.

Rules of this file: the code comes from the JSON in the exception's text, because ccxt's classes
mislead (100001 is OrderNotFound for any wrong parameter, 400002 a NetworkError, 300018 a plain
ExchangeError). Without a code the HTTP status and the cause decide. Of an order nothing is guessed:
what does not prove that KuCoin refused it, or never got it, is UNKNOWN. Texts go to logs and
phones, so of an exception's text only KuCoin's own message is repeated, and only its plain words:
ccxt puts the URL and the body there. Nothing of ccxt is imported, that would load all of it.
"""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import aiohttp

from bot.core.errors import BotError


class Treat(Enum):
    """What to do about a failed call. Of an order, all but UNKNOWN and DUPLICATE are certain: it
    was not accepted and will never trade."""

    REJECTED = "rejected"
    """orders: refused for good"""
    UNKNOWN = "unknown"
    """orders: it may have been accepted; ask by client id, never send it again under another id"""
    NOT_SENT = "not sent"
    """no connection came about. Of a read or a cancel it only says: unreachable (aiohttp sends
    those again by itself when a kept connection breaks)"""
    DUPLICATE = "duplicate"
    """orders: the client id is taken, so an earlier try got through; look it up"""
    NOT_FOUND = "not found"
    """reads: KuCoin does not know the order, or not yet: its index lags behind its matching"""
    NOT_CANCELABLE = "not cancelable"
    """cancels: filled, gone or not there yet; read the order again"""
    RATE_LIMITED = "rate limited"
    """not processed; wait `Verdict.wait_s`, or where that is None as `gw-ratelimit-reset` says"""
    CLOCK = "clock"
    """not processed: our time is off by over 5 s; measure the offset anew and try once more"""
    FATAL = "fatal"
    """not processed, and nothing will be until a person changes something; the text says what"""
    NOTHING_TO_CLOSE = "nothing to close"
    """orders: reduces a position that is flat already"""
    BUSY = "busy"
    """not processed: trading in this contract is suspended for now; try later"""
    OUTAGE = "outage"
    """reads and cancels: failed, and it says nothing about the account"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one failure means. `code` is KuCoin's, "" where there was none; `text` is for people."""

    treat: Treat
    code: str
    text: str
    wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Rule:
    order: Treat
    other: Treat
    hint: str = ""
    wait_s: float | None = None


def _both(treat: Treat, hint: str = "", wait_s: float | None = None) -> _Rule:
    return _Rule(treat, treat, hint, wait_s)


_REFUSED = _Rule(Treat.REJECTED, Treat.OUTAGE)
_NO_ANSWER = _Rule(Treat.UNKNOWN, Treat.OUTAGE)
_CLOUDFLARE_S = 30.0  # how long Cloudflare keeps an address out (KuCoin's error page, code 1015)
_UNIFIED = "the account is not a classic one or the key is not for it: use a classic account"
_PARTNER = "partner headers were sent that KuCoin does not accept: options['partner'] must be {}"
_KEY_VERSION = "KuCoin no longer accepts keys of this version: create a new API key"

# Source: KuCoin's error pages and what ccxt 4.5.90 was seen to raise (API reference, section 6).
# A code that is not listed is a plain refusal.
_RULES: dict[str, _Rule] = {
    "400001": _both(Treat.FATAL, "a signature header is missing: a bug, please report it"),
    "400002": _both(Treat.CLOCK, "the clock is off by more than 5 s"),
    "400003": _both(Treat.FATAL, "KuCoin does not know the API key; was it deleted or mistyped?"),
    # The passphrase is sent signed with the secret, and is looked at first.
    "400004": _both(Treat.FATAL, "the passphrase or the secret does not belong to the API key"),
    "400005": _both(Treat.FATAL, "the secret does not belong to the API key"),
    "400006": _both(
        Treat.FATAL,
        "the API key is bound to another address than this host's: add this host's address to the "
        "key; when it goes out over IPv6 and the key lists an IPv4 address, set exchange.ipv4 to "
        "true",
    ),
    "400007": _both(
        Treat.FATAL, "the API key lacks a permission: it needs General and Futures, no withdrawal"
    ),
    "400008": _both(Treat.FATAL, _KEY_VERSION),
    "400009": _both(Treat.FATAL, _KEY_VERSION),
    "400200": _both(Treat.FATAL, _PARTNER),
    "400201": _both(Treat.FATAL, _PARTNER),
    "411100": _both(Treat.FATAL, "the account is frozen: ask KuCoin's support"),
    "40010": _both(Treat.FATAL, "KuCoin does not serve the region of this host's address"),
    "112010": _both(Treat.FATAL, _UNIFIED),
    "116104": _both(Treat.FATAL, _UNIFIED),
    "429000": _both(Treat.RATE_LIMITED),
    "200002": _both(Treat.RATE_LIMITED, wait_s=10.0),
    "1015": _both(Treat.RATE_LIMITED, wait_s=_CLOUDFLARE_S),
    "300002": _both(Treat.BUSY, "trading is suspended"),
    "300015": _both(Treat.BUSY, "a settlement is running"),
    "100001": _REFUSED,  # unless its message says otherwise, see _rule
    "100004": _Rule(Treat.REJECTED, Treat.NOT_CANCELABLE),
    "300009": _Rule(Treat.NOTHING_TO_CLOSE, Treat.OUTAGE),
    "300018": _Rule(Treat.DUPLICATE, Treat.OUTAGE),
    "330005": _Rule(Treat.REJECTED, Treat.OUTAGE, "set the contract to isolated margin"),
    "330011": _Rule(Treat.REJECTED, Treat.OUTAGE, "set the account to one-way mode"),
    "330012": _Rule(Treat.REJECTED, Treat.OUTAGE, "set the account to one-way mode"),
    "408000": _NO_ANSWER,
    # A success in an exception: an HTTP error around it, or a text in it that ccxt took for one.
    "200000": _NO_ANSWER,
    "200": _NO_ANSWER,
}
_NOT_THERE = _Rule(Treat.UNKNOWN, Treat.NOT_FOUND)
_SERVER_CODE = re.compile(r"5\d\d(\d\d\d)?")
_HTTP = re.compile(r"\S+ (?:GET|POST|PUT|DELETE) \S+ (\d{3}) ")
_TOO_MANY = "429"
# Keys, signatures and addresses of requests: URLs, and long words with a digit in them.
_LONG = re.compile(r"\w{1,10}://\S*|[\w+/=-]{20,}", re.ASCII)
_MESSAGE_CHARS = 200


def classify(error: BaseException, *, order: bool) -> Verdict:
    """Return what a failed call means.

    Parameters
    ----------
    error : what ccxt raised, or a MalformedReply. NOT_SENT rests on ccxt not trying again by itself
        (maxRetriesOnFailure 0, its default).
    order : True for a request that places an order, False for reads and cancels. Orders never get
        NOT_FOUND, NOT_CANCELABLE or OUTAGE; the others never REJECTED, UNKNOWN, DUPLICATE or
        NOTHING_TO_CLOSE.
    """
    said = _said(error)
    if said is not None:
        code, message = said
        rule = _rule(code, message)
        words = [rule.hint, f"KuCoin {code}: {_plain(message or '')}"]
    else:
        code, (rule, what) = "", _without_code(error)
        words = [rule.hint, what]
    treat = rule.order if order else rule.other
    return Verdict(treat, code, "; ".join(filter(None, words)), rule.wait_s)


def _said(error: BaseException) -> tuple[str, str | None] | None:
    # ccxt raises "<id> <body>" for whatever KuCoin answered in JSON.
    try:
        reply = json.loads(str(error).partition(" ")[2])
    except (ValueError, RecursionError):
        return None
    code = reply.get("code") if isinstance(reply, dict) else None
    if isinstance(code, bool) or not isinstance(code, str | int):
        return None
    code = str(code)
    if not (code.isascii() and code.isdigit() and len(code) <= 8):
        return None
    message = reply.get("msg")
    return code, message if isinstance(message, str) else None


def _rule(code: str, message: str | None) -> _Rule:
    if code == "100001" and "ordernotexist" in (message or "").lower():
        return _NOT_THERE
    if code in _RULES:
        return _RULES[code]
    if _SERVER_CODE.fullmatch(code) or message is None:
        return _NO_ANSWER
    return _REFUSED


def _without_code(error: BaseException) -> tuple[_Rule, str]:
    kind = type(error).__name__
    missing = re.search(r' requires "(\w+)" credential', str(error))
    if kind == "AuthenticationError" and missing:
        return _both(Treat.FATAL), f"no credentials: {missing[1]} is missing"
    if kind == "ExchangeClosedByUser":  # raised before a request goes out
        return _both(Treat.NOT_SENT), "the connection to the exchange was closed by us"
    for cause in _causes(error):
        # aiohttp raises these while it connects, so before the first byte of the request.
        if isinstance(
            cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | socket.gaierror
        ):
            return _both(Treat.NOT_SENT), f"no connection to the exchange ({type(cause).__name__})"
    http = _HTTP.match(str(error))
    if http and http[1] == _TOO_MANY:  # in front of KuCoin, as a page
        return _both(Treat.RATE_LIMITED, wait_s=_CLOUDFLARE_S), "HTTP 429"
    if isinstance(error, BotError):  # a reply that made no sense: the text is our own
        return _NO_ANSWER, _plain(str(error))
    return _NO_ANSWER, f"HTTP {http[1]}" if http else f"no usable answer ({kind})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    # Only `raise ... from`: a context may be the failure of an earlier request.
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def _plain(message: str) -> str:
    words = " ".join(_LONG.sub(_unless_secret, message).split())
    return "".join(letter for letter in words if letter.isprintable())[:_MESSAGE_CHARS]


def _unless_secret(found: re.Match[str]) -> str:
    word = found[0]
    return "..." if "://" in word or any(letter.isdigit() for letter in word) else word
