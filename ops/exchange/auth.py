"""Who calls: the signature on the raw request, checked in KuCoin's order with KuCoin's codes."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ops.exchange.refusal import RefusedError

TOLERANCE_MS = 5_000  # between a request's timestamp and a clock of the exchange
HEADERS = ("KC-API-KEY", "KC-API-SIGN", "KC-API-TIMESTAMP", "KC-API-PASSPHRASE")
KEY_VERSIONS = ("2", "3")  # one algorithm
STAMP = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one key of the account."""

    key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "Credentials(...)"  # secrets stay out of logs and tracebacks


@dataclass(slots=True)
class Rights:
    """What the key may do, and whether this host's address is on its list."""

    withdrawal: bool = False
    futures: bool = True
    """to trade; General alone reads"""
    address: bool = True

    def check(self, *, trades: bool) -> None:
        """Raise RefusedError when the key may not be used from here, or not for this."""
        if not self.address:
            raise RefusedError("400006", "Invalid request ip, it is not on the key's list", 401)
        if trades and not self.futures:
            raise RefusedError("400007", "Access denied, require more permission", 401)

    def words(self) -> str:
        """Return the rights as KuCoin lists them; the one to withdraw is told as Transfer."""
        given = {"General": True, "Futures": self.futures, "Transfer": self.withdrawal}
        return ",".join(word for word, is_given in given.items() if is_given)


def digest(secret: str, text: bytes) -> str:
    """Return the base64 of the HMAC-SHA256 of a text."""
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


def check(
    credentials: Credentials,
    headers: Mapping[str, str],
    method: str,
    target: str,
    body: bytes,
    clocks: Iterable[int],
) -> None:
    """Raise RefusedError when a request is not from the owner of the key.

    `target` is path and query as they came, not decoded; `clocks` is what the exchange's clocks
    show, ms: a request may be stamped by any of them.
    """
    if any(not headers.get(name) for name in HEADERS):
        raise RefusedError(
            "400001",
            "Please check the header of your request for KC-API-KEY, KC-API-SIGN, "
            "KC-API-TIMESTAMP, KC-API-PASSPHRASE",
            401,
        )
    if not _same(headers["KC-API-KEY"], credentials.key):
        raise RefusedError("400003", "KC-API-KEY not exists", 401)
    stamp = headers["KC-API-TIMESTAMP"]
    if not STAMP.fullmatch(stamp) or all(abs(int(stamp) - ms) > TOLERANCE_MS for ms in clocks):
        raise RefusedError("400002", "Invalid KC-API-TIMESTAMP", 400)
    if headers.get("KC-API-KEY-VERSION", "1") not in KEY_VERSIONS:
        raise RefusedError("400009", "Invalid KC-API-KEY-VERSION", 401)
    passphrase = digest(credentials.secret, credentials.passphrase.encode())
    if not _same(headers["KC-API-PASSPHRASE"], passphrase):
        # A wrong secret ends here too: the passphrase comes as a digest that is made with it.
        raise RefusedError("400004", "Invalid KC-API-PASSPHRASE", 401)
    signed = f"{stamp}{method}{target}".encode() + body
    if not _same(headers["KC-API-SIGN"], digest(credentials.secret, signed)):
        raise RefusedError("400005", "Invalid KC-API-SIGN", 401)


def _same(given: str, expected: str) -> bool:
    # A header may hold bytes that are no text.
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())
