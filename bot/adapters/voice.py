"""Standard output that may break or stand still: the bot trades on without it.

A full disk, a closed terminal or a reader that went away (`| head`) silences the voice for good. A
reader that does not read (Ctrl-S, a pager) would hold up who writes: a voice that is not `patient`
leaves such lines out.
"""

import io
import os
import select
from contextlib import suppress
from typing import TextIO, override

LOST = (OSError, ValueError)
"""what a stream raises that is gone, or was closed"""


class Voice(io.TextIOBase):
    """Writes to `out` as long as that works. Never raises for trouble with it."""

    def __init__(self, out: TextIO | None, *, patient: bool = True) -> None:
        """`out` is None where the process was started without one."""
        self.out = out
        self.patient = patient

    @override
    def write(self, text: str) -> int:
        """Write, or leave out; one line at once, so that none is cut."""
        if self.out is None or not (self.patient or self.is_read()):
            return len(text)
        try:
            self.out.write(text)
            if not self.patient:  # what stays in a buffer is written when nobody looks
                self.out.flush()
        except UnicodeError:  # a character that this terminal does not have: the line is left out
            pass
        except LOST:
            self.hush()
        return len(text)

    @override
    def flush(self) -> None:
        try:
            if self.out is not None:
                self.out.flush()
        except LOST:
            self.hush()

    @override
    def isatty(self) -> bool:
        try:
            return self.out is not None and self.out.isatty()
        except LOST:
            return False

    @override
    def fileno(self) -> int:
        if self.out is None:
            raise io.UnsupportedOperation("fileno")
        return self.out.fileno()

    def is_read(self) -> bool:
        """Return whether a line can be written at once."""
        try:
            return bool(select.select([], [self.fileno()], [], 0.0)[1])
        except LOST:  # no file at all, as in tests
            return True

    def hush(self) -> None:
        """Say nothing any more; what a buffer still holds must not fail either, at exit."""
        with suppress(*LOST):
            number = self.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
        self.out = None
