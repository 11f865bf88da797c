"""A live account that is flattened without its bot, when the line to the exchange is bad.

The real client on a real simulator over real sockets, with its fault switches.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bot.core.market import ContractSpec
from bot.shell import emergency, emergency_live
from bot.shell.account_file import AccountFile, key_hash, write_account
from bot.shell.emergency_live import LiveAccount
from ops.exchange.server import WireExchange
from tests.support.wire_client import Control
from tests.support.wire_desk import COIN, KEY, START, options, source

NUMBERS = count(1)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, Any]]:
    with WireExchange(options(source([100.0] * 50))) as at:
        yield at


def files(
    folder: Path, addresses: dict[str, Any], contract: ContractSpec = COIN, **site: Any
) -> tuple[Path, Path]:
    """Write what a bot has left behind; return its state directory and the folder of its key."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700, parents=True)
    for name in ("key", "secret", "passphrase"):
        path = keys / f"kucoin_{name}"
        path.write_text(getattr(KEY, name), encoding="ascii")
        path.chmod(0o600)
    urls = addresses["futures"], addresses["spot"]
    # The exchange's time stands still: two of one name would number their orders alike.
    installation = f"r{next(NUMBERS)}"
    known = AccountFile(installation, START, key_hash(KEY.key), *urls, (contract,), **site)
    write_account(folder, known)
    return folder, keys


def outside(addresses: dict[str, Any], **deed: Any) -> Any:
    """Let somebody else do something on the account."""
    return Control(addresses["control"])("POST", "/control/outside", symbol=COIN.symbol, **deed)


def set_margin(addresses: dict[str, Any], mode: str) -> None:
    deed = {"do": "margin_mode", "symbol": COIN.symbol, "mode": mode}
    Control(addresses["control"])("POST", "/control/market", **deed)


@pytest.fixture
def account(addresses: dict[str, Any], tmp_path: Path) -> Iterator[LiveAccount]:
    """Return an account with a position and an order that rests."""
    made = LiveAccount(*files(tmp_path, addresses))
    outside(addresses, do="enter", side=1, contracts=2)
    outside(addresses, do="rest")
    yield made
    Control(addresses["control"])("DELETE", "/control/faults")
    made.close()


def fault(addresses: dict[str, Any], **spec: Any) -> None:
    Control(addresses["control"])("POST", "/control/faults", faults=[spec])


def flat(addresses: dict[str, Any]) -> bool:
    truth = Control(addresses["control"]).truth()
    return not truth["positions"] and not truth["orders"]


@pytest.mark.parametrize("method", ["DELETE", "POST", "GET"])
def test_what_takes_too_long_is_tried_again(
    addresses: dict[str, Any],
    account: LiveAccount,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.setattr(emergency_live, "CALL_S", 0.5)
    fault(addresses, kind="slow_before", method=method, path="/api/v1/orders", seconds=1.5)
    done = account.flatten([0], lambda text: None)
    assert (done.left, done.orders, done.closed) == ([], 0, [COIN.symbol])
    assert flat(addresses)


def test_a_time_that_is_not_told_does_not_hold_it_up(
    addresses: dict[str, Any], account: LiveAccount
) -> None:
    moment = account.clock.monotonic()
    account.clock.told(int(addresses["now_ms"]), moment, moment)  # as a host's good clock
    fault(addresses, kind="html", path="/api/v1/timestamp", times=0)
    done = account.flatten([0], lambda text: None)
    assert (done.left, done.orders) == ([], 0)
    assert flat(addresses)


def test_it_takes_the_line_that_the_bot_had(addresses: dict[str, Any], tmp_path: Path) -> None:
    made = LiveAccount(*files(tmp_path, addresses, ipv4=False, timeout_s=2.5))
    assert (made.client.site.ipv4, made.client.site.timeout_s) == (False, 2.5)
    made.close()


def test_a_position_that_is_larger_than_an_order_may_be_is_closed_in_parts(
    addresses: dict[str, Any], tmp_path: Path
) -> None:
    outside(addresses, do="enter", side=1, contracts=7)
    folder, keys = files(tmp_path, addresses, replace(COIN, max_contracts=3.0))
    said: list[str] = []
    done = emergency.flatten(folder, "drill", None, said.append, keys)
    assert (done["flat"], done["closed"]) == (True, [COIN.symbol])
    assert [line.split(": ")[1] for line in said] == [
        f"{n} contracts at the market" for n in (3, 3, 1)
    ]
    assert flat(addresses)


@pytest.mark.parametrize("first", [1, 2])
def test_a_position_that_the_list_does_not_have_is_closed_too(
    addresses: dict[str, Any], account: LiveAccount, first: int
) -> None:
    empty = {"status": 200, "body": json.dumps({"code": "200000", "data": []})}
    fault(addresses, kind="status", path="/api/v1/positions", nth=first, times=0, **empty)
    done = account.flatten([0], lambda text: None)
    assert (done.left, done.orders, done.closed) == ([], 0, [COIN.symbol])
    assert flat(addresses)


def test_a_position_in_cross_margin_is_closed_too(
    addresses: dict[str, Any], tmp_path: Path
) -> None:
    outside(addresses, do="enter", side=1, contracts=2)
    set_margin(addresses, "CROSS")
    said: list[str] = []
    done = emergency.flatten(
        *files(tmp_path, addresses)[:1], "drill", None, said.append, tmp_path / "keys"
    )
    set_margin(addresses, "ISOLATED")
    assert done["flat"]
    assert ["isolated margin" in line for line in said] == [True, False]
    assert flat(addresses)


def test_other_contracts_are_not_touched_and_a_kill_lists_them(
    addresses: dict[str, Any], tmp_path: Path
) -> None:
    outside(addresses, do="enter", side=1, contracts=2)
    resting = outside(addresses, do="rest")["client_id"]
    other = ContractSpec("ETH-USDT-PERP", 0.01, 0.05)
    folder, keys = files(tmp_path / "other", addresses, other)
    done = emergency.flatten(folder, "drill", None, lambda text: None, keys)
    assert (done["flat"], done["closed"], done["cancelled"]) == (True, [], 0)
    position, order = "position in XBTUSDTM", f"order {resting} in another contract"
    assert done["foreign"] == [position, order]
    assert done["note"] == (
        f"not the bot's and not touched: {position}, {order}; look at the exchange's own page"
    )
    truth = Control(addresses["control"]).truth()
    assert (len(truth["positions"]), len(truth["orders"])) == (1, 1)
    one = emergency.flatten(folder, "drill", other.symbol, lambda text: None, keys)
    assert "foreign" not in one  # who closes one symbol has not asked for the others
    done = emergency.flatten(*files(tmp_path, addresses)[:1], "drill", None, print, keys)
    assert (done["flat"], "foreign" in done, "note" in done) == (True, False, False)
    assert flat(addresses)
