"""The exchange's API key: three files in a folder that only their owner can read.

systemd hands them over as credentials; a person keeps a folder. Environment variables are not
taken: every child process and every crash report would have them.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from bot.adapters.kucoin_site import Credentials
from bot.core.errors import BotError

NAMES = ("kucoin_key", "kucoin_secret", "kucoin_passphrase")
GROUP, OTHERS = 0o070, 0o007


class NoCredentialsError(BotError):
    """There is no usable API key. Exit code 77: a restart changes nothing."""

    exit_code = 77


def load_credentials(given: Path | None, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return the key from the folder `given`, else from systemd's $CREDENTIALS_DIRECTORY.

    Raises
    ------
    NoCredentialsError : no folder, a file that is missing, empty or open to others; all at once
    """
    handed = environ.get("CREDENTIALS_DIRECTORY")
    folder = given or (Path(handed) if handed else None)
    if folder is None:
        raise NoCredentialsError(
            "credentials: expected --credentials DIR, or systemd's, was none; DIR holds the files "
            f"{', '.join(NAMES)}, each mode 0600"
        )
    # systemd lets the service's user in by an access list, which shows as 0440; nobody else gets
    # into its folder.
    closed_to = OTHERS if handed and folder == Path(handed) else GROUP | OTHERS
    values, wrong = [], []
    for name in NAMES:
        try:
            values.append(_value(folder / name, closed_to))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise NoCredentialsError("\n".join(f"credentials: {text}" for text in wrong))
    return Credentials(*values)


def _value(path: Path, closed_to: int) -> str:
    """Return the one line in a file, which may have no right of `closed_to`; raise ValueError with
    what is wrong, never with the value."""
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):  # a FIFO would be waited for
            raise ValueError(f"{path}: expected a file, was something else")
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"{path}: expected a readable file, was: {reason}") from error
    mode = stat.S_IMODE(kind)
    if mode & closed_to:
        raise ValueError(f"{path}: expected mode 0600 or less, was {mode:04o}: chmod 600 {path}")
    lines = text.splitlines()
    if len(lines) == 1 and text.isprintable():
        return text
    was = f"{len(lines)} lines" if len(lines) > 1 else "a line with a character that cannot be seen"
    raise ValueError(f"{path}: expected one line of text, was {was if lines else 'empty'}")
