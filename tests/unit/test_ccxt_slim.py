"""The slim import of ccxt: what it loads, that it signs alike, and what comes of a later import.

Every import happens in a process of its own, since what was imported once stays.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.ccxt_slim import VERSION

ROOT = Path(__file__).parents[2]
START = """
import json, sys
from bot.adapters.ccxt_slim import kucoin_class
"""
SIGN = (
    START
    + """
exchange = kucoin_class(slim={slim})({{"apiKey": "key", "secret": "secret", "password": "phrase"}})
exchange.milliseconds = lambda: 1_700_000_000_000
body = {{"clientOid": "a-1", "side": "buy", "symbol": "XBTUSDTM", "size": 1}}
order = exchange.sign("orders", ["futuresPrivate"], "POST", body)
read = exchange.sign("orders/byClientOid", ["futuresPrivate"], "GET", {{"clientOid": "a-1"}})
others = [name for name in sys.modules if name.startswith("ccxt.") and "binance" in name]
print(json.dumps([order, read, others]))
"""
)


def run(program: str) -> Any:
    """Return what a fresh process prints, parsed as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_signs_like_the_ordinary_import_and_loads_no_other_exchange() -> None:
    *slim_requests, slim_others = run(SIGN.format(slim=True))
    *full_requests, full_others = run(SIGN.format(slim=False))
    assert slim_requests == full_requests
    assert slim_requests[0]["headers"]["KC-API-SIGN"]
    assert slim_others == []
    assert "ccxt.async_support.binance" in full_others


def test_loads_little_beside_the_kucoin_modules() -> None:
    program = START + "kucoin_class(); print(json.dumps([n for n in sys.modules if 'ccxt' in n]))"
    loaded = run(program)
    assert "ccxt.pro.kucoinfutures" in loaded
    assert len([name for name in loaded if name.startswith("ccxt")]) < 30


def test_a_later_import_of_the_package_is_whole_and_has_the_same_classes() -> None:
    later = """
ours = kucoin_class()
import ccxt, ccxt.async_support, ccxt.pro
before = "ccxt.binance" in sys.modules
from ccxt import NetworkError, okx
from ccxt.pro import kucoin, kucoinfutures
from ccxt.base.errors import NetworkError as lower
print(json.dumps({
    "run at import": before,
    "version": ccxt.__version__,
    "exchanges": len(ccxt.exchanges),
    "all there": all(hasattr(ccxt, name) for name in ccxt.__all__),
    "all there, rest": all(hasattr(ccxt.async_support, n) for n in ccxt.async_support.__all__),
    "pro class": ccxt.pro.binance.__mro__[1].__module__,
    "same class": kucoinfutures is ours is kucoin_class(slim=False) and kucoin is ours.__base__,
    "same error": NetworkError is lower and issubclass(ccxt.RequestTimeout, lower),
}))
"""
    assert run(START + later) == {
        "run at import": False,
        "version": VERSION,
        "exchanges": 104,
        "all there": True,
        "all there, rest": True,
        "pro class": "ccxt.async_support.binance",
        "same class": True,
        "same error": True,
    }


def test_after_an_ordinary_import_its_class_is_returned() -> None:
    program = """
import ccxt.pro
print(json.dumps(kucoin_class() is ccxt.pro.kucoinfutures))
"""
    assert run(START + program) is True


def test_inspection_of_modules_runs_nothing() -> None:
    program = """
kucoin_class()
import ccxt
missing = [name for name in ("__wrapped__", "__warningregistry__") if not hasattr(ccxt, name)]
print(json.dumps([missing, "ccxt.binance" in sys.modules]))
"""
    assert run(START + program) == [["__wrapped__", "__warningregistry__"], False]


@pytest.mark.parametrize("slim", [True, False])
def test_another_version_is_refused(slim: bool) -> None:
    program = f"""
import bot.adapters.ccxt_slim as module
from bot.core.errors import BotError
module.VERSION = "4.5.91"
try:
    kucoin_class(slim={slim})
except BotError as error:
    print(json.dumps(str(error)))
"""
    assert run(START + program) == f"expected ccxt 4.5.91, was {VERSION}: run `make setup`"


def test_the_version_is_the_one_that_is_locked() -> None:
    assert f"ccxt=={VERSION}\n" in (ROOT / "requirements/host.in").read_text(encoding="utf-8")
