"""The wish to end: what ends a sleep, and who comes too late for it."""

import threading
from contextlib import ExitStack
from pathlib import Path

from bot.shell.stop import Stop


def test_another_thread_ends_a_sleep() -> None:
    with Stop() as stop:
        thread = threading.Thread(target=stop.wake)
        thread.start()
        stop.wait(60.0)
        thread.join()


def test_who_wakes_late_writes_into_nobodys_file(tmp_path: Path) -> None:
    """A thread that serves a client may last a moment longer than the run, and by then the numbers
    of the pipe are those of files that were opened since."""
    with Stop() as stop:
        pass
    paths = [tmp_path / str(number) for number in range(32)]
    with ExitStack() as files:
        for path in paths:
            files.enter_context(path.open("wb"))
        stop.wake()
    assert [path.name for path in paths if path.stat().st_size] == []
