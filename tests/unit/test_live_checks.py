"""What a start of the live bot makes of what it was told."""

from pathlib import Path

import pytest

from bot.adapters.exchange_clock import ExchangeClock
from bot.core.errors import InputError, UnreachableError
from bot.core.market import MINUTE_MS, ContractSpec
from bot.shell.config import load_config
from bot.shell.live import check_time, first_look
from bot.shell.live_checks import (
    Account,
    LiveRefusedError,
    clock_refusals,
    judge,
    newest,
    withdraws,
)
from bot.shell.stop import Stop

CONFIG = load_config(None, ["exchange.max_clock_offset_s=2"])
REAL, SIMULATOR = CONFIG.exchange.futures_url, "http://127.0.0.1:8099"
NOW_MS = 1_704_067_200_000
BTC = ContractSpec("BTC-USDT-PERP", 0.001, 0.1)
ETH = ContractSpec("ETH-USDT-PERP", 0.01, 0.01)


def clock(offset_ms: int) -> ExchangeClock:
    """Return a clock that knows how far the host's is off."""
    made = ExchangeClock(wall=lambda: NOW_MS / 1000.0, monotonic=lambda: 0.0)
    made.told(NOW_MS + offset_ms, 0.0, 0.0)
    return made


def account(held: tuple[str, ...] = (), foreign: tuple[str, ...] = ()) -> Account:
    """Return an account with something wrong of each kind."""
    return Account(
        wallet=50.0,
        specs=(BTC, None),
        tradable=(0,),
        foreign=foreign,
        held=held,
        refusals=["a refusal"],
        concerns=["a concern"],
        warnings=["a warning"],
    )


@pytest.mark.parametrize(
    ("offset_ms", "url", "refused"),
    [
        (2_000, REAL, False),
        (-2_000, REAL, False),
        (2_001, REAL, True),
        (-2_001, REAL, True),
        (9_000_000, SIMULATOR, False),
    ],
)
def test_a_clock_that_is_off_is_refused(offset_ms: int, url: str, refused: bool) -> None:
    found = clock_refusals(clock(offset_ms), url, CONFIG)
    text = "the host's clock is off by 2.0 s, at most exchange.max_clock_offset_s 2: start chrony"
    assert found == ([text] if refused else [])


@pytest.mark.parametrize(
    ("permission", "refused"),
    [
        ("General,Futures", False),
        ("General,Spot,Margin,Futures,InnerTransfer,Earn", False),
        ("General,Futures,Spot,Earn,InnerTransfer,Transfer,Margin", True),
        ("General, Futures, Transfer", True),
        ("General,Futures,Withdrawal", True),
    ],
)
def test_a_right_to_withdraw_is_known_by_the_words_of_the_exchange(
    permission: str, refused: bool
) -> None:
    assert withdraws(permission) is refused


def test_a_flat_account_is_refused_for_refusals_and_concerns() -> None:
    for fresh in (True, False):
        with pytest.raises(LiveRefusedError) as refused:
            judge(account(), fresh=fresh)
        assert "  - a refusal\n  - a concern" in str(refused.value)
        assert "a warning" not in str(refused.value)


def test_a_bot_that_holds_something_is_not_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert judge(account(held=(BTC.symbol,)), fresh=False) == ["a refusal"]
    assert "account: a concern" in caplog.text


@pytest.mark.parametrize("held", [((BTC.symbol,), ()), ((), ("XRPUSDTM",))])
def test_a_new_bot_takes_nothing_over(held: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    with pytest.raises(LiveRefusedError, match=f"the account holds {''.join(*filter(None, held))}"):
        judge(account(*held), fresh=True)


def test_positions_of_others_alone_do_not_keep_a_bot_up() -> None:
    with pytest.raises(LiveRefusedError):
        judge(account(foreign=("XRPUSDTM",)), fresh=False)


def test_a_contract_that_is_not_listed_any_more_stays_as_it_was_known() -> None:
    assert newest([ContractSpec("BTC-USDT-PERP", 0.001, 0.5), ETH], account()) == (BTC, ETH)


def test_a_first_start_that_is_stopped_does_not_try_again() -> None:
    tried = []

    def look() -> None:
        tried.append(1)
        stop.asked = True
        raise UnreachableError("nobody answers")

    with Stop() as stop, pytest.raises(UnreachableError, match="a first start needs it"):
        first_look(look, stop, known=False)
    assert tried == [1]


def test_a_simulator_that_was_started_anew_is_another_market() -> None:
    """Nothing would be due until its market has come that far again."""
    urls = [f"exchange.{name}_url={SIMULATOR}" for name in ("futures", "spot")]
    rehearsal = load_config(None, [*urls, "exchange.speed=10"])
    with pytest.raises(InputError, match=r"s: .* 2\.5 h before it: .* another --state"):
        check_time(Path("s"), rehearsal, NOW_MS + 150 * MINUTE_MS, NOW_MS)
    check_time(Path("s"), rehearsal, NOW_MS + 10 * MINUTE_MS, NOW_MS)
    check_time(Path("s"), CONFIG, NOW_MS + 150 * MINUTE_MS, NOW_MS)
