"""The service manager's side of the notify socket."""

import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.processes import PATIENCE_S

CREDENTIALS = struct.Struct("3i")  # process, user, group


class NotifySocket:
    """Holds what processes have said until it is asked for; knows which process said it."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "n")
        Path(self.address).unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.setblocking(False)

    def next(self) -> tuple[int, str] | None:
        """Return (process, message) of the next message that is there already, None without."""
        try:
            body, extra, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        except BlockingIOError:
            return None
        [(_, _, sender)] = extra
        return CREDENTIALS.unpack(sender)[0], body.decode("ascii")

    def heard(self) -> list[str]:
        """Return the messages that are there already."""
        return [text for _, text in iter(self.next, None)]

    def until(self, wanted: Callable[[int, str], bool], end: float | None = None) -> bool:
        """Wait for a message; return False when it did not come before monotonic `end`."""
        end = time.monotonic() + PATIENCE_S if end is None else end
        while (left := end - time.monotonic()) > 0.0:
            if select.select([self.socket], [], [], left)[0]:
                message = self.next()
                if message is not None and wanted(*message):
                    return True
        return False

    def close(self) -> None:
        self.socket.close()
