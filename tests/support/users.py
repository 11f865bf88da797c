"""Several users of one host, as far as the one that tests is root."""

import os
from collections.abc import Callable

import pytest

from tests.support.crash import in_child

ANN, BOB = 61_001, 61_002  # without names
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root is several users")


def as_user(user: int, work: Callable[[], object]) -> int:
    """Do something as another user with a narrow umask; return 0 when nothing was raised."""

    def inside() -> None:
        os.umask(0o077)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        work()

    return in_child(inside)
