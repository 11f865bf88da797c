"""A process that has no file handle left."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_handles() -> Iterator[None]:
    """Take every handle of this process that is left; for children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    taken = []
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for handle in taken:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
