"""What is where in the state directory of a bot."""

import os
from pathlib import Path

ACCOUNT = "account.json"
"""there with a live bot (bot/shell/account_file.py)"""
PAPER = "paper.sqlite3"
"""there with a paper bot: its simulated account"""
FAILED_STARTS = "failed-starts.json"
JOURNAL = "journal.sqlite3"
LATCHES = "latches"
LOCK = "lock"
OUTBOX = "outbox"


def control_socket(folder: Path) -> Path:
    """Return where a bot listens: in the service's runtime directory, if it has one, else in its
    state directory `folder`."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return (Path(runtime) if runtime else folder) / "control.sock"
