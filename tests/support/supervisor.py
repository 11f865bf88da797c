"""A service manager in small: what systemd does with a unit of Type=notify that has a watchdog.

It follows systemd.service(5) and systemd.kill(5): Type=notify with NotifyAccess=main,
TimeoutStartSec with EXTEND_TIMEOUT_USEC, WatchdogSec, TimeoutAbortSec, TimeoutStopSec,
Restart=on-failure, RestartSec, RestartPreventExitStatus and a start limit. It lives in a thread of
its own; a test waits for what it notes.
"""

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.notify_socket import NotifySocket
from tests.support.processes import PATIENCE_S

PREVENT = (77, 78)
STARTING, RUNNING, ABORTING, STOPPING, KILLED = "starting", "running", "aborting", "stopping", "end"


@dataclass(frozen=True, slots=True)
class Unit:
    """Settings, named as systemd names them, seconds; the bot's own (DESIGN section 6)."""

    watchdog_s: float = 20.0
    timeout_start_s: float = 45.0
    timeout_stop_s: float = 20.0
    timeout_abort_s: float = 5.0
    restart_s: float = 2.0
    start_limit: int = 5


class Supervisor:
    """Starts a command, watches it, starts it again. What happens is noted in words, in order.

    The words: "start", "READY=1", "watchdog" (pings are missing), a signal that was sent, "end -6"
    (the process has ended, with its exit status), and "restart" or the result it stays down with.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, env: dict[str, str], unit: Unit
    ) -> None:
        self.command, self.folder, self.unit = command, folder, unit
        self.inbox = NotifySocket(folder)
        self.env = {**env, "NOTIFY_SOCKET": self.inbox.address}
        self.env["WATCHDOG_USEC"] = str(int(unit.watchdog_s * 1e6))
        self.notes: list[tuple[float, str]] = []
        """(monotonic seconds, what)"""
        self.changed = threading.Condition()
        self.may_abort = threading.Event()
        """a test clears it to look at a process whose pings are missing before it is aborted"""
        self.may_abort.set()
        self.stop_asked = threading.Event()
        self.bell, self.ring = os.pipe()
        self.phase, self.deadline = STARTING, 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self.supervise, name="supervisor")
        self.thread.start()

    # What a test asks.

    def wait(self, what: str, since: int = 0) -> float:
        """Wait for a note at place `since` or later; return when that was, monotonic seconds."""
        with self.changed:
            assert self.changed.wait_for(lambda: what in self.words(since), PATIENCE_S), (
                f"expected {what!r} after {since} notes, was {self.notes}: {self.said()[-2000:]}"
            )
            return next(at for at, word in self.notes[since:] if word == what)

    def words(self, since: int = 0) -> list[str]:
        """Return what has happened, from place `since` on."""
        return [word for _, word in self.notes[since:]]

    def pid(self) -> int:
        """Return the process that runs now."""
        assert self.process is not None
        return self.process.pid

    def said(self) -> str:
        """Return what all processes have written to standard error."""
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> list[str]:
        """Stop the service in order; return all that has happened."""
        self.stop_asked.set()
        os.write(self.ring, b".")
        self.thread.join(PATIENCE_S)
        return self.words()

    def close(self) -> None:
        """End what is left, whatever the state."""
        self.may_abort.set()
        if self.thread.is_alive() and self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.stop()
        self.inbox.close()
        os.close(self.bell)
        os.close(self.ring)

    # The thread.

    def supervise(self) -> None:
        """Start, watch and start again, until a result that systemd leaves alone."""
        for _ in range(self.unit.start_limit):
            result = self.live()
            if self.stop_asked.is_set() or result == "success" or result in map(str, PREVENT):
                break
            self.note("restart")
            if self.stop_asked.wait(self.unit.restart_s):
                break
        self.note(f"result {result}")

    def note(self, what: str) -> None:
        with self.changed:
            self.notes.append((time.monotonic(), what))
            self.changed.notify_all()

    def live(self) -> str:
        """Live through one process; return its result: success, watchdog, timeout, or its status.

        What it was ended for counts, not how it then ended.
        """
        unit = self.unit
        with (self.folder / "stderr").open("ab") as errors:
            self.process = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        self.phase, self.deadline = STARTING, time.monotonic() + unit.timeout_start_s
        self.note("start")
        ended, messages = os.pidfd_open(self.process.pid), self.inbox.socket.fileno()
        result = ""
        while True:
            left = max(0.0, self.deadline - time.monotonic())
            ready, _, _ = select.select([ended, messages, self.bell], [], [], left)
            if ended in ready:
                break
            if self.bell in ready:
                os.read(self.bell, 1)
                self.send(signal.SIGTERM, STOPPING, unit.timeout_stop_s)
            self.listen()
            if time.monotonic() >= self.deadline:
                result = self.run_out() or result
        os.close(ended)
        status = self.process.wait()
        self.note(f"end {status}")
        return result or ("success" if status == 0 else str(status))

    def listen(self) -> None:
        """Take the messages that have come; those of other processes count for nothing."""
        while (message := self.inbox.next()) is not None:
            pid, text = message
            if self.process is None or pid != self.process.pid:
                continue
            now = time.monotonic()
            name, _, value = text.partition("=")
            if text == "READY=1" and self.phase == STARTING:
                self.phase, self.deadline = RUNNING, now + self.unit.watchdog_s
                self.note(text)
            elif text == "WATCHDOG=1" and self.phase == RUNNING:
                self.deadline = now + self.unit.watchdog_s
            elif name == "EXTEND_TIMEOUT_USEC" and self.phase == STARTING:
                self.deadline = max(self.deadline, now + int(value) / 1e6)
            elif text == "STOPPING=1" and self.phase == RUNNING:
                self.phase, self.deadline = STOPPING, now + self.unit.timeout_stop_s
                self.note(text)

    def run_out(self) -> str:
        """Do what is due when the time of a phase is over; return the result that stands then."""
        unit = self.unit
        if self.phase == STARTING:
            self.send(signal.SIGTERM, STOPPING, unit.timeout_stop_s)
            return "timeout"
        if self.phase == RUNNING:
            self.note("watchdog")
            self.may_abort.wait(PATIENCE_S)
            self.send(signal.SIGABRT, ABORTING, unit.timeout_abort_s)
            return "watchdog"
        self.send(signal.SIGKILL, KILLED, PATIENCE_S)
        return "" if self.phase == ABORTING else "timeout"

    def send(self, number: signal.Signals, phase: str, seconds: float) -> None:
        """Signal the process and go on to a phase. SIGCONT follows, as with systemd: a process that
        is stopped would not take anything but SIGKILL."""
        assert self.process is not None
        self.note(number.name)
        self.process.send_signal(number)
        if number != signal.SIGKILL:
            self.process.send_signal(signal.SIGCONT)
        self.phase, self.deadline = phase, time.monotonic() + seconds
