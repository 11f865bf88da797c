"""`python -m bot` is `radbot`."""

import sys

from bot.shell.stop import remember_early


def run() -> int:
    """Run the command line; signals are looked after before the rest is loaded."""
    remember_early()
    from bot.adapters.logs import log_uncaught
    from bot.shell.cli import main

    log_uncaught()
    return main()


sys.exit(run())
