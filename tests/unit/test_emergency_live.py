"""A live account that is flattened without its bot, when the line to the exchange is bad.

The real client on a real simulator over real sockets, with its fault switches.
"""

import json
from collections.abc import Iterator, Sequence
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
from tests.support.wire_desk import COIN, KEY, OTHER, START, options, source

NUMBERS = count(1)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, Any]]:
    with WireExchange(options(source([100.0] * 50))) as at:
        yield at


def files(
    folder: Path,
    addresses: dict[str, Any],
    contract: ContractSpec | Sequence[ContractSpec] = COIN,
    **site: Any,
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
    contracts = (contract,) if isinstance(contract, ContractSpec) else tuple(contract)
    known = AccountFile(installation, START, key_hash(KEY.key), *urls, contracts, **site)
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


def test_a_position_of_more_parts_than_are_sent_at_once_is_closed(
    addresses: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emergency_live, "MOST_PARTS", 2)
    outside(addresses, do="enter", side=-1, contracts=7)
    folder, keys = files(tmp_path, addresses, replace(COIN, max_contracts=2.0))
    said: list[str] = []
    done = emergency.flatten(folder, "drill", None, said.append, keys)
    assert (done["flat"], len(said)) == (True, 4), said
    assert flat(addresses)


@pytest.mark.parametrize("known", [0.0, 40.0])
def test_a_position_is_closed_in_parts_when_the_largest_order_has_been_lowered(
    tmp_path: Path, known: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bot has seen the contract before that, and the exchange says no to what is too large."""
    monkeypatch.setattr(emergency_live, "TRY_FOR_S", 10.0)
    market = source([100.0] * 50)
    [now] = market.contracts
    lowered = replace(market, contracts=(replace(now, max_contracts=3.0),))
    with WireExchange(options(lowered)) as at:
        for _ in range(7):
            outside(at, do="enter", side=1, contracts=3)
        folder, keys = files(tmp_path, at, replace(COIN, max_contracts=known))
        said: list[str] = []
        done = emergency.flatten(folder, "drill", None, said.append, keys)
        assert (done["flat"], done["closed"]) == (True, [COIN.symbol]), said
        assert sum("at the market" not in line for line in said) <= 5, said
        assert flat(at)


SPOILT = {"kind": "null_fields", "times": 0, "symbol": "XBTUSDTM"}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return an exchange with two positions, of which both have an order that rests."""
    monkeypatch.setattr(emergency_live, "TRY_FOR_S", 2.0)
    with WireExchange(options(source([100.0] * 50, [50.0] * 50))) as at:
        for symbol in (COIN.symbol, OTHER.symbol):
            deed = {"symbol": symbol, "side": 1, "contracts": 2}
            Control(at["control"])("POST", "/control/outside", do="enter", **deed)
            Control(at["control"])("POST", "/control/outside", do="rest", symbol=symbol)
        yield at


def kill(folder: Path, at: dict[str, Any], *contracts: ContractSpec) -> dict[str, Any]:
    """Return what a kill of an account of two contracts says."""
    state, keys = files(folder, at, contracts or (COIN, OTHER))
    said: list[str] = []
    done = emergency.flatten(state, "drill", None, said.append, keys)
    return {**done, "said": said}


@pytest.mark.parametrize("field", ["currentQty", "isOpen", "positionSide"])
def test_a_row_that_cannot_be_read_keeps_no_position_open_and_is_not_called_flat(
    two: dict[str, Any], tmp_path: Path, field: str
) -> None:
    """Neither the list nor its own answer makes sense: it is closed by an order that needs none."""
    fault(two, **SPOILT, path="/api/v1/position", fields=[field])
    done = kill(tmp_path, two)
    truth = Control(two["control"]).truth()
    assert truth["positions"] == [], done
    assert (done["flat"], done["left"], sorted(done["closed"])) == (
        False,
        [COIN.symbol],
        [COIN.symbol, OTHER.symbol],
    )
    assert "position XBTUSDTM" in done["note"]
    # The order of the one that nobody knows may be all that protects it.
    assert [order["symbol"] for order in truth["orders"]] == [COIN.symbol]


def test_a_row_that_cannot_be_read_is_closed_by_its_own_answer(
    two: dict[str, Any], tmp_path: Path
) -> None:
    fault(two, **{**SPOILT, "times": 2}, path="/api/v1/positions", fields=["currentQty"])
    done = kill(tmp_path, two)
    assert (done["flat"], done["closed"]) == (True, [COIN.symbol, OTHER.symbol])
    assert flat(two)


def test_a_row_without_a_name_may_be_of_any_contract(two: dict[str, Any], tmp_path: Path) -> None:
    body = {"code": "200000", "data": [{"currentQty": 3, "isOpen": True}]}
    fault(two, kind="status", path="/api/v1/positions", times=0, status=200, body=body)
    done = kill(tmp_path, two)
    assert flat(two)
    assert (done["flat"], done["left"]) == (False, [COIN.symbol, OTHER.symbol])
    assert "names no contract" in done["note"]


def test_without_a_list_of_positions_each_is_asked_for(two: dict[str, Any], tmp_path: Path) -> None:
    fault(two, kind="null", path="/api/v1/positions", times=0)
    done = kill(tmp_path, two)
    assert flat(two)
    assert (done["flat"], done["left"]) == (False, [COIN.symbol, OTHER.symbol])
    assert "the list of positions" in done["note"]


@pytest.mark.parametrize("field", ["filledSize", "isActive"])
def test_an_order_that_cannot_be_read_is_cancelled_all_the_same(
    two: dict[str, Any], tmp_path: Path, field: str
) -> None:
    fault(two, **SPOILT, path="/api/v1/orders", method="GET", fields=[field])
    done = kill(tmp_path, two)
    assert (done["flat"], done["cancelled"]) == (True, 2), done
    assert flat(two)


def test_an_order_without_a_contract_is_named_and_not_touched(
    two: dict[str, Any], tmp_path: Path
) -> None:
    fault(two, **SPOILT, path="/api/v1/orders", method="GET", fields=["symbol"])
    done = kill(tmp_path, two)
    truth = Control(two["control"]).truth()
    assert (truth["positions"], len(truth["orders"])) == ([], 1)
    assert not done["flat"]
    assert "an open order" in done["note"]


EMPTY = {"code": "200000", "data": []}


def test_what_ties_up_money_is_not_flat_although_nothing_is_listed(
    two: dict[str, Any], tmp_path: Path
) -> None:
    fault(two, kind="status", path="/api/v1/positions", times=0, status=200, body=EMPTY)
    fault(two, kind="error", path="/api/v1/position", nth=1, times=0, code="100003", msg="none")
    done = kill(tmp_path, two)
    assert Control(two["control"]).truth()["positions"] == []
    assert done["flat"], done
    assert sorted(done["closed"]) == [COIN.symbol, OTHER.symbol]
    assert any("positions tie up" in line for line in done["said"])


def test_what_goes_on_to_tie_up_money_is_said(two: dict[str, Any], tmp_path: Path) -> None:
    fault(two, kind="status", path="/api/v1/positions", times=0, status=200, body=EMPTY)
    fault(two, kind="error", path="/api/v1/position", times=0, code="100003", msg="none")
    fault(two, kind="error", method="POST", path="/api/v1/orders", times=0, code="300009", msg="no")
    done = kill(tmp_path, two)
    assert (done["flat"], done["left"]) == (False, [COIN.symbol, OTHER.symbol])
    assert "none is listed" in done["note"]


def test_money_in_positions_of_others_is_no_sign(two: dict[str, Any], tmp_path: Path) -> None:
    done = kill(tmp_path, two, COIN)
    assert (done["flat"], done["closed"]) == (True, [COIN.symbol])
    assert "position in ETHUSDTM" in done["note"]


def test_what_is_not_flat_and_what_is_of_others_are_both_said(
    two: dict[str, Any], tmp_path: Path
) -> None:
    fault(two, **SPOILT, path="/api/v1/position", fields=["currentQty"])
    done = kill(tmp_path, two, COIN)
    assert (done["flat"], done["left"]) == (False, [COIN.symbol])
    for text in ("position XBTUSDTM: currentQty", "position in ETHUSDTM"):
        assert text in done["note"]


@pytest.mark.parametrize("kind", ["null", "html", "drop_before"])
def test_a_witness_that_says_nothing_does_not_count(
    two: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    fault(two, kind=kind, path="/api/v1/account-overview", times=0)
    assert kill(tmp_path, two)["flat"]
    assert flat(two)


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
