"""What holds for every test: no ambient settings, and property tests that repeat exactly."""

import os
import signal
import sys
from typing import Any

import pytest
from hypothesis import settings

# Before any test module is imported: what the developer has set must not reach a test.
for name in list(os.environ):
    if name.startswith("RADBOT_") or name in ("TEST_MODE", "PYTHONDONTWRITEBYTECODE"):
        del os.environ[name]

# Otherwise each of the hundreds of processes that tests start compiles the whole program anew.
sys.dont_write_bytecode = False

# A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The examples follow from the test alone (no random seed, no database of earlier failures), so a
# failure in one place is a failure everywhere. No deadline: the first call may compile.
settings.register_profile("ci", derandomize=True, database=None, deadline=None, print_blob=True)
settings.load_profile("ci")


TRIED: list[str] = []
"""what the workers have told, when there are any"""


def tried() -> list[str]:
    """Return what this process has to say of what its tests tried."""
    from tests.support.counts import SAID

    return [line for count in SAID.values() if (line := count.line())]


def pytest_report_header() -> str:
    """Say which profile made the property tests' examples."""
    profile = settings.default
    return (
        f"hypothesis profile ci: derandomize={profile.derandomize} "
        f"max_examples={profile.max_examples} deadline={profile.deadline}"
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker of pytest-xdist tell how much its tests have tried."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["tried"] = tried()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker tells; one that was killed tells nothing."""
    TRIED.extend(getattr(node, "workeroutput", {}).get("tried", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much the long tests have tried."""
    lines = [*TRIED, *tried()]
    if lines:
        terminalreporter.section("tried")
        for line in lines:
            terminalreporter.write_line(line)
