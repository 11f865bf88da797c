"""The service manager's notify socket (sd_notify): one datagram for each message.

Status text is made ASCII and travels alone, so that no character in it can cost a READY or a ping.
"""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

ONCE_S = 1.0
"""a busy manager, whose queue holds ten messages, is waited for so long with what is said once"""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Tells the service manager how the process is. Does nothing where there is no manager."""

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        # A leading @ is Linux's abstract namespace, written as a zero byte.
        self.address = address.replace("@", "\0", 1) if address else None
        self.watchdog_s = watchdog_s
        """a process that does not ping for this long is killed and restarted; None: never"""
        self.pings = 0

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Read the manager's variables and take them away: a child that inherited them would speak
        for us."""
        address = environ.get("NOTIFY_SOCKET")
        meant_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        watchdog_s = int(usec) / 1e6 if usec.isdigit() and meant_for_us else None
        for name in VARIABLES:
            environ.pop(name, None)
        return cls(address, watchdog_s)

    def ready(self) -> None:
        self._send("READY=1", ONCE_S)

    def ping(self) -> None:
        """Feed the watchdog; only for progress, never from a timer."""
        self.pings += 1
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1", ONCE_S)

    def extend(self, seconds: float) -> None:
        """Ask for more time to start."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """Say in one line how it goes."""
        line = text.encode("ascii", "replace").decode().replace("\n", " ")
        self._send(f"STATUS={line}")

    def _send(self, message: str, wait_s: float = 0.0) -> None:
        if self.address is None:
            return
        # A manager that does not listen must not stop the bot; its watchdog will.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(wait_s)  # 0 is not at all
            sender.sendto(message.encode("ascii"), self.address)
