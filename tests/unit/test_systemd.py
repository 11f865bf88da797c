"""The notify socket: real datagrams."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.systemd import Notifier

TOO_MANY = 5_000


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5.0)
        yield listener


def test_messages_arrive_one_by_one_and_in_ascii(manager: socket.socket) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "20000000",
        "WATCHDOG_PID": str(os.getpid()),
        "PATH": "x",
    }
    notifier = Notifier.from_environ(environ)
    assert environ == {"PATH": "x"}  # children must not speak for us
    assert notifier.watchdog_s == 20.0
    notifier.extend(1.5)
    notifier.ready()
    notifier.status("equity 5 €\nfine")
    notifier.ping()
    notifier.stopping()
    got = [manager.recv(200).decode("ascii") for _ in range(5)]
    assert got == [
        "EXTEND_TIMEOUT_USEC=1500000",
        "READY=1",
        "STATUS=equity 5 ? fine",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_what_is_said_once_waits_for_a_manager_that_is_busy(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname(), None)
    for number in range(TOO_MANY):  # for any queue; the rest is lost
        notifier.status(str(number))
    got: list[bytes] = []

    def reads() -> None:
        while b"STOPPING=1" not in got:
            got.append(manager.recv(200))

    reader = threading.Thread(target=reads)
    reader.start()
    notifier.ready()
    notifier.stopping()
    reader.join(10.0)
    assert got[-2:] == [b"READY=1", b"STOPPING=1"]
    assert len(got) < TOO_MANY + 2


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed(manager: socket.socket) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "20000000",
        "WATCHDOG_PID": "1",
    }
    notifier = Notifier.from_environ(environ)
    assert notifier.watchdog_s is None
    notifier.ping()
    notifier.ready()
    assert manager.recv(200) == b"READY=1"


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier.from_environ({})
    notifier.ready()
    notifier.ping()
    assert notifier.pings == 1
