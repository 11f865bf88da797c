"""What must be true of an account before a live bot may trade on it; every reason at once.

Asked of the exchange, never assumed: account type, position mode, margin modes, what the key may
do, money, contracts, clock, and that orders of our kinds are understood.
"""

import asyncio
import json
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.adapters import kucoin_parse as parse
from bot.adapters.exchange_clock import Clock
from bot.adapters.kucoin_account import together
from bot.adapters.kucoin_client import KucoinClient, RefusedError
from bot.adapters.kucoin_fields import Fields, MalformedReplyError, wire_index, wire_symbol
from bot.adapters.kucoin_market import read_contracts
from bot.adapters.kucoin_orders import order_body
from bot.adapters.kucoin_parse_market import Contract
from bot.adapters.token_bucket import Priority
from bot.core.errors import BotError, NoAnswerError, UnreachableError
from bot.core.kernel.prices import round_near
from bot.core.market import ContractSpec
from bot.core.messages import PlaceOrder, Role
from bot.shell.build import to_spec
from bot.shell.config import Config
from bot.shell.config_rules import is_loopback

log = logging.getLogger("radbot")
FIX = {
    "unified": "this is a unified account (UTA), which is not supported yet: use a sub-account of "
    "the classic kind, or wait for a release that names unified accounts in its changelog",
    "hedge": "the account is in hedge mode: switch it to one-way mode (Futures, Preferences, "
    "Position mode) while it is flat",
    "withdraw": "the API key may withdraw (KuCoin lists that right as Transfer): make one with the "
    "rights General and Futures only",
}

EXPECTED = ("300003", "300009")  # no money for it; nothing to close: the order is understood
CLASSIC = ("112010", "116104")  # the question for its mode is not one for a classic account
MODES = ("CLASSIC", "UNIFIED")
TOLD_S = 5.0  # so long the spot host is waited for


class LiveRefusedError(BotError):
    """The account is not as live trading needs it. Exit code 78: a restart changes nothing."""

    exit_code = 78

    def __init__(self, reasons: Sequence[str]) -> None:
        """Refuse for `reasons`; each says what to do."""
        lines = "\n".join(f"  - {reason}" for reason in reasons)
        super().__init__(f"live trading is refused, no position was opened:\n{lines}")


@dataclass(slots=True)
class Account:
    """What the exchange says."""

    wallet: float
    specs: tuple[ContractSpec | None, ...]
    """in configuration order; None for what is not listed"""
    tradable: tuple[int, ...]
    """configured symbols, by index, whose contracts are open"""
    foreign: tuple[str, ...]
    """contracts that are held and not configured"""
    held: tuple[str, ...]
    """configured symbols that are held"""
    refusals: list[str] = field(default_factory=list)
    concerns: list[str] = field(default_factory=list)
    """refusals, too, but for a bot that has positions to look after"""
    warnings: list[str] = field(default_factory=list)


async def inspect(client: KucoinClient, config: Config) -> Account:
    """Read what the futures host says of whether this account can be traded.

    Raises
    ------
    UnreachableError : it could not all be read
    """
    symbols = config.symbols
    try:
        hedge, money, positions, contracts = await together(
            _in_hedge_mode(client),
            client.read("futuresPrivateGetAccountOverview", {"currency": "USDT"}, weight=5),
            client.read("futuresPrivateGetPositions", {"currency": "USDT"}, weight=2),
            read_contracts(client, symbols),
        )
        listed = [contract.spec.symbol for contract in contracts if contract is not None]
        modes = await together(*(_margin_mode(client, symbol) for symbol in listed))
        # Hedge mode is told in words of its own; its positions would be malformed.
        held, foreign = parse.positions([] if hedge else positions, wire_index(symbols))
        wallet = parse.overview(money).wallet
    except MalformedReplyError as error:
        raise UnreachableError(f"an answer that makes no sense: {error}") from error
    except RefusedError as error:
        raise UnreachableError(str(error)) from error
    account = Account(
        wallet=wallet,
        specs=tuple(None if contract is None else contract.spec for contract in contracts),
        tradable=tuple(k for k, one in enumerate(contracts) if one is not None and is_open(one)),
        foreign=foreign,
        held=tuple(symbols[k] for k in held),
    )
    account.refusals += [FIX["hedge"]] if hedge else []
    _judge_symbols(account, symbols, contracts, dict(zip(listed, modes, strict=True)))
    _judge_money(account, config)
    return account


async def inspect_key(client: KucoinClient, account: Account) -> None:
    """Add what the spot host says of account and key. A host of its own, and rights of the key that
    trading does not need: what it does not tell is a warning. Ask after `inspect`, which tells of
    keys that are no good at all.
    """
    unified, may_withdraw = await together(
        _if_told(_is_unified(client)), _if_told(_may_withdraw(client))
    )
    account.refusals += [FIX["unified"]] if unified is True else []
    account.concerns += [FIX["withdraw"]] if may_withdraw is True else []
    for what, answer in (
        ("whether the account is a unified one", unified),
        ("whether the API key may withdraw", may_withdraw),
    ):
        if isinstance(answer, str):
            account.warnings.append(f"the exchange does not tell {what}: {answer}")


def is_open(contract: Contract) -> bool:
    """Return whether orders in a contract are taken."""
    return contract.status == "Open"


def _judge_symbols(
    account: Account,
    symbols: Sequence[str],
    contracts: Sequence[Contract | None],
    modes: Mapping[str, str],
) -> None:
    for symbol, contract in zip(symbols, contracts, strict=True):
        if contract is None:
            text = f"{symbol}: KuCoin Futures does not list it: take it out of `symbols`"
            account.refusals.append(text)
            continue
        if not is_open(contract):
            account.concerns.append(
                f"{symbol}: the contract is {contract.status}, not Open: take it out of `symbols`"
            )
        if modes[symbol] != "ISOLATED":
            account.refusals.append(
                f"{symbol}: margin mode is {modes[symbol]}: set it to isolated on the exchange"
            )


def _judge_money(account: Account, config: Config) -> None:
    risk = config.risk
    if account.wallet < risk.min_balance:
        account.concerns.append(
            f"balance is {account.wallet:,.2f} USDT, below risk.min_balance "
            f"{risk.min_balance:,.2f}: transfer money to the futures account"
        )
    elif account.wallet < risk.recommended_balance:
        account.warnings.append(
            f"balance is {account.wallet:,.2f} USDT, below the recommended "
            f"{risk.recommended_balance:,.2f}"
        )


def clock_refusals(clock: Clock, futures_url: str, config: Config) -> list[str]:
    """Return what is wrong with the host's clock, which has just been compared."""
    offset_s, most_s = abs(clock.offset_ms) / 1000.0, config.exchange.max_clock_offset_s
    if is_loopback(futures_url) or offset_s <= most_s:  # a simulator may play another year
        return []
    return [
        f"the host's clock is off by {offset_s:.1f} s, at most "
        f"exchange.max_clock_offset_s {most_s:g}: start chrony"
    ]


def judge(seen: Account, *, fresh: bool) -> list[str]:
    """Say what is not as it should be. Return what a bot that holds positions is halted for: they
    must be looked after, whatever would forbid to open them. Raise LiveRefusedError for it where
    none are held."""
    refusals = list(seen.refusals)
    held = (*seen.held, *seen.foreign)
    if fresh and held:
        refusals.append(
            f"the account holds {', '.join(held)} already: close that first, or use a sub-account; "
            "a bot takes nothing over that is not its own"
        )
    looked_after = not fresh and bool(seen.held)
    refusals += [] if looked_after else seen.concerns
    for warning in (*seen.warnings, *(seen.concerns if looked_after else ())):
        log.warning("account: %s", warning)
    if refusals and not looked_after:
        raise LiveRefusedError(refusals)
    return refusals


def newest(known: Sequence[ContractSpec], seen: Account) -> tuple[ContractSpec, ...]:
    """Return the contracts as the exchange tells them; what it does not list stays as known."""
    return tuple(now or was for was, now in zip(known, seen.specs, strict=True))


def changed(known: Sequence[ContractSpec], specs: Sequence[ContractSpec]) -> str:
    """Return which contracts differ, for the log."""
    pairs = zip(known, specs, strict=True)
    return json.dumps({was.symbol: [str(was), str(now)] for was, now in pairs if was != now})


async def _if_told(question: Coroutine[Any, Any, bool]) -> bool | str:
    """Return the answer; where there is none, why."""
    try:
        async with asyncio.timeout(TOLD_S):
            return await question
    except TimeoutError:
        return f"no answer within {TOLD_S:g} s"
    except (UnreachableError, RefusedError, MalformedReplyError) as error:
        return str(error)


async def _is_unified(client: KucoinClient) -> bool:
    try:
        data = await client.read("utaPrivateGetAccountMode", weight=2, answers=CLASSIC)
    except RefusedError as error:
        if error.verdict.code in CLASSIC:
            return False
        raise
    fields = Fields(data, "account mode")
    mode = fields.text("selfAccountMode")
    if mode not in MODES:
        raise fields.wrong("selfAccountMode", " or ".join(MODES))
    return mode == "UNIFIED"


async def _may_withdraw(client: KucoinClient) -> bool:
    data = await client.read("privateGetUserApiKey", weight=3)
    fields = Fields(data, "the key's rights")
    permission = fields.text("permission")
    if "general" not in _rights(permission):  # every key has it
        raise fields.wrong("permission", "rights, General among them")
    return withdraws(permission)


def withdraws(permission: str) -> bool:
    """Return whether a key's rights, as KuCoin lists them, let money leave the account for good.

    Source: KuCoin, "Transfer: allows a key to transfer funds (including deposit and withdrawal)";
    InnerTransfer stays between the accounts of one person.

    >>> withdraws("General,Futures,InnerTransfer"), withdraws("General, Futures, Transfer")
    (False, True)
    """
    words = _rights(permission)
    return "transfer" in words or any("withdraw" in word for word in words)


def _rights(permission: str) -> list[str]:
    return [word.strip().lower() for word in permission.split(",")]


async def _in_hedge_mode(client: KucoinClient) -> bool:
    data = await client.read("futuresPrivateGetPositionGetPositionMode", weight=2)
    return Fields(data, "position mode").integer("positionMode") != 0


async def _margin_mode(client: KucoinClient, symbol: str) -> str:
    params = {"symbol": wire_symbol(symbol)}
    data = await client.read("futuresPrivateGetPositionGetMarginMode", params, weight=2)
    fields = Fields(data, f"margin mode of {symbol}")
    if fields.text("symbol") != params["symbol"]:
        raise fields.wrong("symbol", params["symbol"])
    return fields.text("marginMode")


async def self_test(client: KucoinClient, spec: ContractSpec, price: float) -> list[str]:
    """Return what the exchange does not understand of our kinds of orders; they are checked by it
    and not placed.

    A reduce-only order without a position is refused for that reason alone, which is right.
    """
    found = []
    grid = to_spec(spec, False)
    for role, side, share in ((Role.ENTRY, 1, 1.0), (Role.STOP, -1, 0.97)):
        level = max(round_near(share * price, grid), grid.tick)  # marks are off the grid
        order = PlaceOrder(f"test-{role.value}", 0, role, side, 1.0, level, 1.0)
        body: dict[str, Any] = order_body(order, wire_symbol(spec.symbol), spec)
        try:
            data = await client.send(
                "futuresPrivatePostOrdersTest", body, weight=2, priority=Priority.ENTRY
            )
            parse.order_id_of(data, order.client_id)
        except RefusedError as error:
            if error.verdict.code not in EXPECTED:
                found.append(f"{spec.symbol}: {role.value} orders are refused: {error}")
        except (NoAnswerError, UnreachableError, MalformedReplyError) as error:
            # Not worth a start that fails.
            log.warning("self-test of %s orders got no answer: %s", role.value, error)
    return found
