"""Pictures for the metrics page, of a bot that trades or never did, and a way to read the page."""

import urllib.error
import urllib.request
from dataclasses import replace

from bot.adapters.line_state import LineState
from bot.adapters.metrics import MetricsServer, Published
from bot.core.messages import Effect, Event
from bot.core.state import State
from bot.shell.telemetry import Telemetry
from tests.support.runs import trade
from tests.support.states import Desk
from tests.support.worlds import make_world

IDENTITY = {
    "version": "0",
    "release_id": "r",
    "content_hash": "c",
    "config_hash": "h",
    "trading": "paper",
    "run_id": "x",
}
FRESH_LINE = LineState(answers=0, budget=1.0, clock_offset_s=0.01, pushing=False)
GIVEN_BY_LOOP = dict.fromkeys(
    (
        *("data_age_seconds", "latched", "memory_limit_bytes"),
        *("outbox_waiting", "watchdog_pings_total"),
    ),
    0.0,
)


class WatchedDesk(Desk):
    """A desk that tells a Telemetry everything, as the loop does."""

    def __init__(self, telemetry: Telemetry, state: State | None = None) -> None:
        self.telemetry = telemetry
        super().__init__(state)

    def feed(self, event: Event) -> list[Effect]:
        """Take one event and return its effects."""
        effects = super().feed(event)
        self.telemetry.saw(event, effects, self.state)
        return effects

    def picture(self, line: LineState | None = None) -> Published:
        """Publish, and return what other threads then read."""
        self.telemetry.publish(self.state, True, GIVEN_BY_LOOP, line)
        return self.telemetry.latest


def rich_picture() -> Published:
    """Return the picture of a bot with a past that holds a position: nothing is absent from it."""
    telemetry = Telemetry(IDENTITY)
    telemetry.restore([trade(5.0), trade(-1.0)], [(0, 100.0), (1, 101.0), (2, 100.5)], (1, 1))
    desk = WatchedDesk(telemetry)
    desk.enter()
    return desk.picture(replace(FRESH_LINE, pushing=True, push_age_s=3.5))


def first_picture(symbols: int) -> Published:
    """Return the first picture of a bot that has never traded and is not ready."""
    telemetry = Telemetry(IDENTITY)
    state = State(make_world(symbols), tuple(f"S{k}-USDT-PERP" for k in range(symbols)), "t")
    telemetry.publish(state, False, GIVEN_BY_LOOP, FRESH_LINE)
    return telemetry.latest


def get(server: MetricsServer, path: str) -> tuple[int, str]:
    """Return the status code and the body of a page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
