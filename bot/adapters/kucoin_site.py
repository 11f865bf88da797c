"""Where the exchange is, and who we are there; without anything that talks to it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key; never part of a message or a log."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the exchange is. `ipv4` is for keys that are bound to an IPv4 address."""

    futures_url: str = "https://api-futures.kucoin.com"
    spot_url: str = "https://api.kucoin.com"
    timeout_s: float = 5.0
    ipv4: bool = True
