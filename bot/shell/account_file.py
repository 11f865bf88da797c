"""`account.json` in the state directory: which account this is, and what is needed to flatten it
when neither the bot nor its journal can be used.

Written when the bot is founded, and when a contract has changed; never a secret in it.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.files import atomic_file
from bot.core.codec import decode, encode
from bot.core.errors import InputError
from bot.core.market import ContractSpec
from bot.shell.state_folder import ACCOUNT


@dataclass(frozen=True, slots=True)
class AccountFile:
    """One installation on one account."""

    installation: str
    """begins the client ids of its orders; a new process is not a new installation"""
    founded_ms: int
    """exchange time; what the account did before is not this bot's"""
    key_hash: str
    futures_url: str
    spot_url: str
    specs: tuple[ContractSpec, ...]
    """in configuration order"""
    speed: float = 1.0
    """of a simulator's clock"""
    timeout_s: float = 5.0
    ipv4: bool = True
    """of the line, as the bot had it configured"""

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(spec.symbol for spec in self.specs)


def key_hash(key: str) -> str:
    """Return what tells API keys apart without being one."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def new_installation() -> str:
    """Return the name of a new installation: letter first, so that no id looks like a number."""
    return f"r{secrets.token_hex(4)}"


def read_account(folder: Path) -> AccountFile | None:
    """Return the account of a state directory, None where no live bot was founded.

    Raises
    ------
    InputError : the file cannot be read
    """
    path = folder / ACCOUNT
    try:
        return decode(AccountFile, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, InputError) as error:
        raise InputError(f"{path}: expected the account of a live bot, was: {error}") from error


def write_account(folder: Path, account: AccountFile) -> None:
    """Write the file, durably and whole; raise InputError when that is not possible."""
    with atomic_file(folder / ACCOUNT) as file:
        json.dump(encode(account), file)
