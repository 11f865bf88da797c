"""What may be wrong with a journal, and whether trying again helps."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, Protocol

from bot.core.errors import BotError, InputError

DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""what reading something else than what was written may lead to"""


class JournalError(BotError):
    """The journal cannot be used. Exit code 75: somebody must make room, then it works again."""

    exit_code = 75


class JournalUnusableError(JournalError):
    """The journal is damaged, of a newer release or of another configuration. Exit code 78: a
    restart changes nothing."""

    exit_code = 78


class HasPath(Protocol):
    """Something that reads one file."""

    path: Path


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Let whatever goes wrong while a journal is read be a JournalError that names it."""
    try:
        yield
    except JournalError:
        raise
    except sqlite3.OperationalError as error:  # locked, no room, no right: may be over soon
        raise JournalError(f"{path}: cannot be used: {error}") from error
    except (sqlite3.Error, InputError, *DAMAGED) as error:
        raise JournalUnusableError(
            f"{path}: damaged, or not a journal of this release ({type(error).__name__}: {error}); "
            "positions rest under their stops on the exchange. Restore a backup, or move the file "
            "away to begin a new journal"
        ) from error


def guarded[S: HasPath, **P, T](
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], T]:
    """Put the whole of a method under `reading` of its object's path."""

    @wraps(method)
    def inside(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with reading(self.path):
            return method(self, *args, **kwargs)

    return inside
