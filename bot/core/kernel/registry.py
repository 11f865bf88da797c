"""Which functions belong to the kernel. Research compiles this list; nothing here compiles
anything."""

from collections.abc import Callable
from typing import Any

KERNEL_FUNCTIONS: list[Callable[..., Any]] = []


def kernel[F: Callable[..., Any]](function: F) -> F:
    """Register `function` as a kernel function and return it unchanged."""
    KERNEL_FUNCTIONS.append(function)
    return function
