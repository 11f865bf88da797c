"""Contract specifications that ship with the bot, used where no contracts.json says otherwise."""

from bot.core.market import ContractSpec

# Source: contract objects of KuCoin Futures (GET /api/v1/contracts/active), fields multiplier,
# tickSize, maintainMargin, maxLeverage and maxOrderQty: XBTUSDTM as in the sample of KuCoin's own
# SDK (2024), the others as in recorded answers of 2023. The exchange changes them now and then, so
# a contracts.json wins over this table.
_MOST = 1_000_000.0  # of every one of them
_KNOWN = (
    ContractSpec("BTC-USDT-PERP", 0.001, 0.1, 0.004, 125.0, _MOST),
    ContractSpec("ETH-USDT-PERP", 0.01, 0.01, 0.005, 100.0, _MOST),
    ContractSpec("LTC-USDT-PERP", 0.1, 0.01, 0.007, 75.0, _MOST),
    ContractSpec("XRP-USDT-PERP", 10.0, 0.0001, 0.007, 75.0, _MOST),
    ContractSpec("ADA-USDT-PERP", 10.0, 0.00001, 0.01, 50.0, _MOST),
    ContractSpec("DOGE-USDT-PERP", 100.0, 0.00001, 0.007, 75.0, _MOST),
)
BUILTIN: dict[str, ContractSpec] = {spec.symbol: spec for spec in _KNOWN}
