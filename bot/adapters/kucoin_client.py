"""KuCoin Futures over ccxt, as two verbs: `read` may be tried again, `send` is tried once.

ccxt signs, transports and recognises errors; nothing else of it is used: no markets are loaded, no
orders are built, no answers are read by it (it takes an HTML page for "no positions"). Its options
that would change the wire are pinned here.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Mapping
from random import Random
from typing import Any

import aiohttp

from bot.adapters.ccxt_slim import kucoin_class
from bot.adapters.exchange_clock import Clock
from bot.adapters.kucoin_errors import Treat, Verdict, classify
from bot.adapters.kucoin_fields import MalformedReplyError
from bot.adapters.kucoin_parse import envelope
from bot.adapters.kucoin_parse_market import server_time
from bot.adapters.kucoin_site import Credentials, Site
from bot.adapters.token_bucket import Priority, TokenBucket
from bot.core.errors import BotError, NoAnswerError, UnreachableError

log = logging.getLogger("radbot.exchange")
READ_TRIES = 3
PAUSE_S = 0.3  # before a read is tried again, with as much jitter
BUDGET_WAIT_S = 2.0  # an entry that would have to wait longer is not worth sending
URGENT_WAIT_S = 5.0  # a stop or an exit; then it is decided anew
CONNECTIONS = 30
TOKEN_WEIGHT, TIME_WEIGHT = 10, 2  # of a socket's token, of the time (API reference, section 7)
OTHER_POOL = "/api/v1/transaction-history"  # on the futures host, but from the pool Management
BLOCKED_S = 5.0  # after a 429 that does not say how long


class RefusedError(BotError):
    """The exchange has refused: what was asked for did not happen and will not."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict


class CredentialsError(UnreachableError):
    """The exchange does not accept the key. Exit code 77."""

    exit_code = 77


class KucoinClient:
    """One account on one site. All but `take_errors` are coroutines of the wire thread."""

    def __init__(
        self,
        site: Site,
        credentials: Credentials | None,
        clock: Clock,
        bucket: TokenBucket,
        rng: Random | None = None,
        *,
        slim: bool = True,
    ) -> None:
        """Prepare; without `credentials` only public reads work."""
        self.site = site
        self.clock = clock
        self.bucket = bucket
        self.rng = rng if rng is not None else Random()
        self.ccxt = kucoin_class(slim=slim)(_settings(site, credentials))
        self.ccxt.options["partner"] = {}  # given with the rest it is merged, and is ccxt's own
        self.ccxt.nonce = clock.now
        self.ccxt.on_rest_response = self._heard
        self.session: aiohttp.ClientSession | None = None
        self.errors: list[str] = []
        """kinds of errors that nobody has taken yet; a bot takes them every turn"""

    async def open(self) -> None:
        """Make the session; ccxt would make one that resolves both address families."""
        family = socket.AF_INET if self.site.ipv4 else socket.AF_UNSPEC
        connector = aiohttp.TCPConnector(family=family, limit=CONNECTIONS)
        stay = aiohttp.TraceConfig()
        stay.on_request_redirect.append(_stay)
        self.session = aiohttp.ClientSession(connector=connector, trace_configs=[stay])
        self.ccxt.session = self.session
        self.ccxt.own_session = False
        self.ccxt.open()  # knows its loop now; a socket may be the first that wants it

    async def close(self) -> None:
        """Close every connection."""
        self.ccxt.timeout_on_exit = 0
        await self.ccxt.close()
        if self.session is not None:
            await self.session.close()

    async def read(
        self,
        call: str,
        params: Mapping[str, Any] | None = None,
        *,
        weight: int,
        priority: Priority = Priority.ACCOUNT,
        answers: tuple[str, ...] = (),
    ) -> Any:
        """Return the `data` of a GET. Error codes in `answers` answer this question.

        Raises
        ------
        RefusedError : it answered that it will not, or that there is no such thing
        CredentialsError : the key is not accepted
        UnreachableError : nothing usable came, also after some tries
        """
        for attempt in range(READ_TRIES):
            try:
                trying = await self.bucket.take(weight, priority)
                return self._answered(await self._call(call, params), call, trying=trying)
            except Exception as error:
                verdict = classify(error, order=False)
                if verdict.code not in answers:
                    await self._learn(verdict, error)
                if verdict.treat in FINAL or verdict.code in answers:
                    raise RefusedError(verdict) from error
                if verdict.treat is Treat.FATAL:
                    raise CredentialsError(verdict.text) from error
                if attempt + 1 == READ_TRIES:
                    raise UnreachableError(f"{call}: {verdict.text}") from error
            await asyncio.sleep(PAUSE_S * (1.0 + self.rng.random()))
        raise UnreachableError(call)

    async def send(
        self,
        call: str,
        params: Mapping[str, Any],
        *,
        weight: int,
        priority: Priority,
        order: bool = True,
    ) -> Any:
        """Return the `data` of an order or a cancellation. It goes out once; only a clock that was
        off, which the exchange names before it looks at the order, is worth a second try.

        Raises
        ------
        RefusedError : it will never trade (or be cancelled)
        UnreachableError : it was certainly not sent
        NoAnswerError : it may have arrived
        """
        longest_s = URGENT_WAIT_S if priority is Priority.REDUCE else BUDGET_WAIT_S
        for last in (False, True):
            trying = await self.bucket.take(weight, priority, longest_s)
            try:
                return self._answered(await self._call(call, params), call, trying=trying)
            except Exception as error:
                verdict = classify(error, order=order)
                await self._learn(verdict, error)
                if verdict.treat is Treat.CLOCK and not last:
                    continue
                raise _failure(verdict) from error
        raise NoAnswerError(call)

    async def cancel(self, call: str, params: Mapping[str, Any]) -> None:
        """Ask for a cancellation, once. Whatever goes wrong, a read will show what is left.

        Raises
        ------
        UnreachableError, NoAnswerError, RefusedError : as `send`
        """
        await self.send(call, params, weight=1, priority=Priority.REDUCE, order=False)

    async def socket_url(self) -> str:
        """Return where the private socket is, with a new token. Its request counts like any other,
        and goes last: reads find whatever a socket would have told.

        Raises
        ------
        UnreachableError : there is none
        """
        await self.bucket.take(TOKEN_WEIGHT, Priority.MARKET)
        self.ccxt.options.pop("urls", None)  # ccxt keeps a token until the exchange refuses it
        try:
            return str(await self.ccxt.negotiate(True, True))
        except Exception as error:
            verdict = classify(error, order=False)
            if verdict.treat is Treat.RATE_LIMITED:  # the rest is no error: a socket only prompts
                await self._learn(verdict, error)
            raise UnreachableError(f"no token came: {verdict.text}") from error

    async def sync_clock(self) -> None:
        """Ask the exchange for its time. Raises UnreachableError."""
        # Orders may wait for it.
        await self.bucket.take(TIME_WEIGHT, Priority.REDUCE, URGENT_WAIT_S)
        asked = time.monotonic()
        try:
            data = envelope(await self._call("futuresPublicGetTimestamp", None), "timestamp")
            self.clock.told(server_time(data), asked, time.monotonic())
        except Exception as error:
            verdict = classify(error, order=False)
            raise UnreachableError(f"clock: {verdict.text}") from error

    def take_errors(self) -> list[str]:
        """Return the kinds of errors since the last call; for the trading loop. What the wire
        thread adds meanwhile stays for the next call."""
        found = list(self.errors)
        del self.errors[: len(found)]
        return found

    async def _call(self, call: str, params: Mapping[str, Any] | None) -> Any:
        return await getattr(self.ccxt, call)(dict(params or {}))

    def _answered(self, reply: Any, call: str, *, trying: bool) -> Any:
        """Return the `data` of an answer. `trying` says that its request went out while requests
        were held back after a 429: the answer ends that."""
        data = envelope(reply, call)
        if trying:
            self.bucket.unblock()
        return data

    async def _learn(self, verdict: Verdict, error: Exception) -> None:
        """Draw the consequences that concern every later request."""
        if isinstance(error, MalformedReplyError):
            self.errors.append(MALFORMED)
        elif verdict.treat not in ANSWERS:
            self.errors.append(KINDS.get(verdict.treat, "other"))
            if verdict.treat not in KINDS and verdict.treat is not Treat.FATAL:  # told once
                log.warning("%s", verdict.text)
        if verdict.treat is Treat.RATE_LIMITED:
            self.bucket.block(verdict.wait_s or BLOCKED_S)
        elif verdict.treat is Treat.CLOCK:
            log.warning("a request came too late or too early: %s", verdict.text)
            try:
                await self.sync_clock()
            except UnreachableError as failure:
                log.warning("%s", failure)

    def _heard(
        self,
        _code: int,
        _reason: str,
        url: str,
        _method: str,
        headers: Mapping[str, str],
        body: str,
        asked: Mapping[str, str],
        *_: object,
    ) -> str:
        """Learn from the answer's headers how much of the request budget is left; ccxt calls this
        for every answer."""
        named = {name.lower(): text for name, text in headers.items()}  # HTTP/1.1 has any case
        told = [named.get(f"gw-ratelimit-{name}", "") for name in ("limit", "remaining", "reset")]
        ours = url.startswith(self.site.futures_url) and OTHER_POOL not in url
        if ours and all(text.isdigit() for text in told):
            limit, remaining, reset_ms = (int(text) for text in told)
            self.bucket.told(limit, remaining, reset_ms, public="KC-API-KEY" not in asked)
        return body


FINAL = frozenset(
    {Treat.NOT_FOUND, Treat.NOT_CANCELABLE, Treat.NOTHING_TO_CLOSE, Treat.REJECTED, Treat.DUPLICATE}
)
ANSWERS = FINAL - {Treat.DUPLICATE}
"""answers, and no errors of the line; a refused order is counted with its event (telemetry.py)"""
MALFORMED = "malformed"
KINDS = {
    Treat.UNKNOWN: "timeout",
    Treat.NOT_SENT: "unreachable",
    Treat.OUTAGE: "unreachable",
    Treat.BUSY: "unreachable",
    Treat.RATE_LIMITED: "rate_limited",
    Treat.CLOCK: "clock",
}


async def _stay(_: object, _context: object, told: aiohttp.TraceRequestRedirectParams) -> None:
    # aiohttp would send key and signature to whoever the answer names.
    told.response.close()
    raise MalformedReplyError(f"HTTP {told.response.status}: sent elsewhere, which is not followed")


def _failure(verdict: Verdict) -> BotError:
    """Return what a failed order or cancellation is for the caller."""
    if verdict.treat in (Treat.UNKNOWN, Treat.DUPLICATE, Treat.OUTAGE):
        return NoAnswerError(verdict.text)
    if verdict.treat in (Treat.NOT_SENT, Treat.RATE_LIMITED, Treat.CLOCK, Treat.BUSY):
        return UnreachableError(verdict.text)
    return RefusedError(verdict)


def _settings(site: Site, credentials: Credentials | None) -> dict[str, Any]:
    """Return what the ccxt object is made with; every address is ours to choose."""
    settings: dict[str, Any] = {
        "enableRateLimit": False,  # the bucket counts
        "timeout": int(site.timeout_s * 1000),
        "options": {"uta": False, "hf": False},
        "urls": {
            "api": {
                **dict.fromkeys(("futuresPublic", "futuresPrivate"), site.futures_url),
                **dict.fromkeys(SPOT_NAMES, site.spot_url),
                "ws": dict.fromkeys(("spot", "futures", "private"), site.spot_url),
            }
        },
    }
    if credentials is not None:
        settings |= {
            "apiKey": credentials.key,
            "secret": credentials.secret,
            "password": credentials.passphrase,
        }
    return settings


SPOT_NAMES = ("public", "private", "uta", "utaPrivate", "utaV2", "earn", "broker", "webExchange")
