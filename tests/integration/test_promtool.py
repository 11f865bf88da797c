"""The page as Prometheus's own checker sees it."""

import shutil
import subprocess
from collections.abc import Callable

import pytest

from bot.adapters.metrics import TABLE, MetricsServer, Published
from tests.support.pictures import first_picture, get, rich_picture


def page_of(picture: Published) -> str:
    """Return the page that a real server gives for a picture."""
    server = MetricsServer("127.0.0.1", 0, lambda: picture, lambda: picture.at, 20.0)
    try:
        code, page = get(server, "/metrics")
    finally:
        server.close()
    assert code == 200
    return page


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(Published, id="before the loop"),
        pytest.param(lambda: first_picture(10), id="first"),
        pytest.param(rich_picture, id="trading"),
    ],
)
def test_promtool_has_nothing_to_say(draw: Callable[[], Published]) -> None:
    tool = shutil.which("promtool")
    assert tool is not None, (
        "promtool: expected on PATH, found nowhere; as root on Debian or Ubuntu run"
        " `sh scripts/system.sh`, elsewhere install Prometheus (https://prometheus.io/download)"
    )
    page = page_of(draw())
    done = subprocess.run(
        [tool, "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    named = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP ")}
    assert named == {f"radbot_{name}" for name in TABLE}
