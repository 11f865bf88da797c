"""Write a result file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from bot.core.errors import InputError


@contextmanager
def atomic_file(path: Path) -> Iterator[TextIO]:
    """Open a text file that becomes `path` when the block ends without an error.

    UTF-8, and newlines as they are written. Readers see the old file or the new one, also after a
    crash.

    Raises
    ------
    InputError : the folder is missing, or the file cannot be written there
    """
    target = path.resolve()  # through symbolic links, which stay
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        check_writable(path)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise InputError(f"{path}: expected a writable file, was: {error.strerror}") from error
    finally:
        with suppress(OSError):  # the error that matters is already on its way
            temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise InputError when a result file could not be written; asked before long work begins."""
    target = path.resolve()
    if target.exists() and not target.is_file():  # a rename would replace a folder or a device
        raise InputError(f"{path}: expected the name of a file, was a folder or a device")
    if not target.parent.is_dir():
        raise InputError(f"{path}: expected an existing folder, create {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{path}: expected a folder that may be written, was {target.parent}")


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
