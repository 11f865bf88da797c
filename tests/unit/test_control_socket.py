"""The control socket: real sockets, real threads, every wait ended by an event or a time-out."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.control_socket import (
    LONGEST_PATH,
    MOST_CLIENTS,
    MOST_REQUEST,
    ControlServer,
    ControlUnavailable,
    Handler,
    ask,
)
from bot.core.errors import InputError
from tests.support.crash import in_child
from tests.support.handles import without_handles

LONG_S = 30.0  # no test waits that long unless something is broken


def echo(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"first": request["command"]}
    yield {"second": request.get("more"), "done": True}


@contextmanager
def serving(path: Path, handler: Handler = echo) -> Iterator[ControlServer]:
    server = ControlServer(path, handler)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A socket path that is short on every system: relative to the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return Path("control.sock")


def raw(path: Path, sent: bytes) -> list[dict[str, Any]]:
    """Send bytes as they are and return all answers."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(LONG_S)
        client.connect(os.fspath(path))
        with suppress(BrokenPipeError, ConnectionResetError):  # refused in the middle
            client.sendall(sent)
        answers = []
        # What was not read of the request resets the connection, after the answer.
        with client.makefile("rb") as lines, suppress(ConnectionResetError):
            for line in lines:
                answers.append(json.loads(line))
        return answers


def test_request_and_answers_go_both_ways(path: Path) -> None:
    with serving(path):
        answers = list(ask(path, {"command": "status", "more": ["ü", 1.5]}, LONG_S))
    assert answers == [{"first": "status"}, {"second": ["ü", 1.5], "done": True}]


def test_last_answer_is_marked_for_a_handler_that_does_not(path: Path) -> None:
    with serving(path, lambda request: [{"a": 1}]):
        assert list(ask(path, {"command": "x"}, LONG_S)) == [{"a": 1}, {"done": True}]


def test_only_the_owner_may_open_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        with serving(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert os.umask(0) == 0  # the process's own mask is back
    finally:
        os.umask(before)


STRANGER = """\
import os, socket, sys
os.setuid(65_534)
client = socket.socket(socket.AF_UNIX)
client.settimeout(30)
client.connect(sys.argv[1])
print(client.makefile().read())
"""


@pytest.mark.skipif(
    not hasattr(socket, "SO_PEERCRED") or os.getuid() != 0, reason="only root can become another"
)
def test_another_user_is_refused_even_where_the_file_is_open() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's own folders are closed
        Path(name).chmod(0o755)
        path = Path(name, "s")
        with serving(path):
            path.chmod(0o666)
            done = subprocess.run(
                [sys.executable, "-c", STRANGER, path],
                capture_output=True,
                text=True,
                timeout=LONG_S,
                check=True,
            )
    assert json.loads(done.stdout)["code"] == 2
    assert "only the bot's user and root" in done.stdout


def test_socket_that_a_dead_process_left_is_replaced(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as dead:
        dead.bind(os.fspath(path))
    with pytest.raises(ControlUnavailable) as refused:
        list(ask(path, {"command": "x"}, LONG_S))
    assert refused.value.why == "not_running"
    with serving(path):
        assert len(list(ask(path, {"command": "x"}, LONG_S))) == 2


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(InputError, match="another file"):
        ControlServer(path, echo)
    assert path.read_text() == "precious"


def test_missing_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="control socket: expected to make"):
        ControlServer(Path(os.path.relpath(tmp_path / "none" / "s")), echo)


def test_long_path_names_the_options_that_help(tmp_path: Path) -> None:
    path = tmp_path / ("x" * LONGEST_PATH)
    for act in (
        lambda: ControlServer(path, echo),
        lambda: list(ask(path, {"command": "x"}, LONG_S)),
    ):
        with pytest.raises(InputError, match=r"at most 100 bytes, was .*--socket or --state"):
            act()


def test_close_removes_the_file_but_never_a_successors(path: Path) -> None:
    with serving(path):
        pass
    assert not path.exists()
    first = ControlServer(path, echo)
    second = ControlServer(path, echo)
    first.close()
    try:
        assert len(list(ask(path, {"command": "x"}, LONG_S))) == 2
    finally:
        second.close()


def test_nobody_there_is_not_running(path: Path) -> None:
    with pytest.raises(ControlUnavailable, match="not running") as error:
        list(ask(path, {"command": "x"}, LONG_S))
    assert (error.value.why, error.value.exit_code) == ("not_running", 75)


def test_silence_is_not_answering(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as deaf:
        deaf.bind(os.fspath(path))
        deaf.listen(1)  # as of a stopped process: connections are made, and that is all
        with pytest.raises(ControlUnavailable, match=r"within 0\.05 s") as error:
            list(ask(path, {"command": "x"}, 0.05))
    assert error.value.why == "not_answering"


def test_error_of_the_handler_hangs_up_and_the_server_lives(path: Path) -> None:
    def handler(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"going": "well"}
        if request["command"] == "leave":
            raise ConnectionResetError  # what a broken client looks like to the thread
        yield {"done": True}

    with serving(path, handler):
        with pytest.raises(ControlUnavailable, match="hung up") as error:
            list(ask(path, {"command": "leave"}, LONG_S))
        assert error.value.why == "not_answering"
        assert len(list(ask(path, {"command": "stay"}, LONG_S))) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        ({"error": "no such symbol", "code": 2, "done": True}, InputError, None),
        ({"error": "busy", "code": 75, "done": True}, ControlUnavailable, "not_answering"),
        (
            {"error": "slow", "code": 75, "why": "not_done", "done": True},
            ControlUnavailable,
            "not_done",
        ),
    ],
)
def test_refusal_is_raised_in_the_bots_words(
    path: Path, answer: dict[str, Any], kind: type[Exception], why: str | None
) -> None:
    with serving(path, lambda request: [answer]), pytest.raises(kind) as error:
        list(ask(path, {"command": "x"}, LONG_S))
    assert str(error.value) == answer["error"]
    assert getattr(error.value, "why", None) == why


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\n", b"[1]\n", b'{"no": "command"}\n', b'{"command": 1}\n', b"[" * 60_000 + b"\n"],
)
def test_nonsense_is_answered(path: Path, sent: bytes) -> None:
    with serving(path):
        [answer] = raw(path, sent)
    assert answer["code"] == 2
    assert answer["done"] is True


def test_endless_request_is_refused(path: Path) -> None:
    with serving(path):
        [answer] = raw(path, b"x" * (2 * MOST_REQUEST))
        assert f"at most {MOST_REQUEST} bytes" in answer["error"]


def test_many_are_served_at_once_and_too_many_are_turned_away(path: Path) -> None:
    inside = threading.Semaphore(0)
    leave = threading.Event()

    def handler(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        inside.release()
        assert leave.wait(LONG_S)
        yield {"done": True}

    answers: list[list[dict[str, Any]]] = []
    with serving(path, handler):
        clients = [
            threading.Thread(
                target=lambda: answers.append(list(ask(path, {"command": "x"}, LONG_S)))
            )
            for _ in range(MOST_CLIENTS)
        ]
        for client in clients:
            client.start()
        for _ in clients:
            assert inside.acquire(timeout=LONG_S)
        with pytest.raises(ControlUnavailable, match="serves 32 clients already"):
            list(ask(path, {"command": "x"}, LONG_S))
        leave.set()
        for client in clients:
            client.join(LONG_S)
    assert answers == [[{"done": True}]] * MOST_CLIENTS


def test_a_client_for_whom_no_handle_is_left_is_waited_for(path: Path) -> None:
    """In a child, because its handles are taken away."""

    def serve() -> None:
        with serving(path), closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
            with without_handles():
                client.connect(os.fspath(path))
                began = time.process_time()
                time.sleep(1.0)
                assert time.process_time() - began < 0.5
            client.sendall(b'{"command": "x"}\n')
            assert client.makefile().readline() == '{"first": "x"}\n'

    assert in_child(serve) == 0
