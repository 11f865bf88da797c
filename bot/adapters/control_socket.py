"""The control socket: how people reach the running bot on its own host (AF_UNIX, owner only).

One request is one line of JSON, `{"command": ..., ...}`; its answers are lines of JSON, the last of
which has `"done": true`. What went wrong is `{"error": TEXT, "code": EXIT CODE, "done": true}`. The
server lives in threads of its own, so that it also answers when the decision loop stands still.
"""

import json
import os
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from bot.core.errors import BotError, InputError

type Message = dict[str, Any]
type Handler = Callable[[Message], Iterable[Message]]

LONGEST_PATH = 100
"""bytes; sun_path holds 108 on Linux and 104 on macOS, the final zero included"""
MOST_REQUEST = 65_536
"""bytes"""
MOST_ANSWER = 16_777_216
MOST_CLIENTS = 32
"""more at once are turned away, so that threads cannot grow without bound"""
CLIENT_S = 5.0
"""a client that neither asks nor reads for so long is hung up on"""
NO_HANDLE_S = 0.1
"""pause where no handle is left for a client: it stays there, and would be asked for at once"""


class ControlUnavailable(BotError):  # noqa: N818  (a state of the bot rather than a mistake)
    """The bot cannot be asked. Exit code 75: look whether it runs.

    `why` is `not_running` (nobody listens), `not_answering` (somebody does, and says nothing), or
    what the bot gave as `why` itself.
    """

    exit_code = 75

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why


def check_path(path: Path) -> None:
    """Raise InputError when the system could not make a socket of this name."""
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise InputError(
            f"control socket: expected a path of at most {LONGEST_PATH} bytes, was {length} "
            f"({path}): choose a shorter --socket or --state"
        )


class ControlServer:
    """Listens on `path` from construction to `close`; every client has a thread of its own.

    `handler` gets a request and yields its answers; the last is marked as such by the server. It
    runs in the client's thread. Whoever opens a server must hold the instance lock: a socket file
    that is there already is taken for one that a dead process left behind.

    Raises
    ------
    InputError : the path is too long, taken by another kind of file, or cannot be written
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        check_path(path)
        self.path = path
        self.handler = handler
        self.places = threading.BoundedSemaphore(MOST_CLIENTS)
        self.listener = _listen(path)
        self._file = os.stat(path).st_ino
        self._waker, self._wakened = socket.socketpair()
        self.thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop listening and remove the file; clients that are being served may finish."""
        self._waker.close()
        self.thread.join()
        self.listener.close()
        self._wakened.close()
        with suppress(OSError):  # a successor may have its own there by now
            if os.stat(self.path).st_ino == self._file:
                self.path.unlink()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self.listener, self._wakened], [], [])
            if self._wakened in ready:
                return
            try:
                client, _ = self.listener.accept()
            except OSError:  # it may be gone again, or handles may be scarce
                time.sleep(NO_HANDLE_S)
                continue
            with suppress(OSError):
                self._welcome(client)

    def _welcome(self, client: socket.socket) -> None:
        client.settimeout(CLIENT_S)
        refusal = _refusal(client)
        if refusal is None and not self.places.acquire(blocking=False):
            refusal = {"error": f"the bot serves {MOST_CLIENTS} clients already", "code": 75}
        if refusal is not None:
            with client, suppress(OSError):
                _send(client, {**refusal, "done": True})
            return
        talk = threading.Thread(target=self._talk, args=(client,), name="control", daemon=True)
        try:
            talk.start()
        except RuntimeError:  # no more threads
            self.places.release()
            client.close()

    def _talk(self, client: socket.socket) -> None:
        try:
            with client, suppress(OSError):  # a client that goes away takes nothing back
                self._answer(client)
        finally:
            self.places.release()

    def _answer(self, client: socket.socket) -> None:
        try:
            request = json.loads(_read_line(client))
            if not isinstance(request, dict) or not isinstance(request.get("command"), str):
                raise ValueError("expected an object with a command")
        except (ValueError, RecursionError) as error:
            _send(client, {"error": f"request: {error}", "code": 2, "done": True})
            return
        done = False
        for answer in self.handler(request):
            _send(client, answer)
            done = bool(answer.get("done"))
        if not done:
            _send(client, {"done": True})


def _listen(path: Path) -> socket.socket:
    """Return a listening socket of mode 0600; it is never open wider, not for an instant."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise FileExistsError(f"{path} is another file")
            path.unlink()
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise InputError(
            f"control socket: expected to make {path}, was refused: {error}"
        ) from error
    finally:
        os.umask(before)
    listener.listen(MOST_CLIENTS)
    return listener


def _refusal(client: socket.socket) -> Message | None:
    """Return why this client may not ask, None when it may: it is the owner or root."""
    if not hasattr(socket, "SO_PEERCRED"):  # macOS: the mode of the file must do
        return None
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if uid in (0, os.getuid()):
        return None
    return {"error": "control socket: only the bot's user and root may ask", "code": 2}


def _read_line(client: socket.socket) -> bytes:
    """Return the request; raise ValueError when it is too long, OSError when it does not come."""
    end = time.monotonic() + CLIENT_S
    line = b""
    while not line.endswith(b"\n"):
        if len(line) > MOST_REQUEST:
            raise ValueError(f"expected at most {MOST_REQUEST} bytes, was more")
        if time.monotonic() > end:
            raise TimeoutError
        part = client.recv(4096)
        if not part:
            raise ConnectionResetError
        line += part
    return line


def _send(client: socket.socket, message: Message) -> None:
    client.sendall(json.dumps(message).encode() + b"\n")


def ask(path: Path, request: Message, timeout_s: float) -> Iterator[Message]:
    """Send a request to the bot and yield its answers, the last with `done`.

    Parameters
    ----------
    timeout_s : how long to wait for each of the answers

    Raises
    ------
    ControlUnavailable : nobody listens, or no answer came in time
    InputError : the bot says that the request is wrong, the path is too long, or this user may not
        ask
    """
    check_path(path)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise ControlUnavailable("not_running", "the bot is not running") from error
        except PermissionError as error:
            raise InputError(
                f"{path}: expected the bot's user or root, was another (try sudo -u radbot)"
            ) from error
        except OSError as error:  # its queue is full, or the time is over
            raise _silent(timeout_s) from error
        try:
            with suppress(BrokenPipeError):  # it was refused unread: the answer says why
                _send(client, request)
            yield from _answers(client, timeout_s)
        except OSError as error:
            raise _silent(timeout_s) from error


def _answers(client: socket.socket, timeout_s: float) -> Iterator[Message]:
    with client.makefile("rb") as lines:
        while True:
            line = lines.readline(MOST_ANSWER)
            if not line.endswith(b"\n"):
                raise ControlUnavailable("not_answering", "the bot hung up: it may have ended")
            try:
                answer = json.loads(line)
            except ValueError as error:
                raise ControlUnavailable("not_answering", "the bot answers nonsense") from error
            if "error" in answer:
                if answer.get("code") == InputError.exit_code:
                    raise InputError(answer["error"])
                raise ControlUnavailable(answer.get("why", "not_answering"), answer["error"])
            yield answer
            if answer.get("done"):
                return


def _silent(timeout_s: float) -> ControlUnavailable:
    return ControlUnavailable("not_answering", f"the bot does not answer within {timeout_s:g} s")
