"""Contract specifications that ship with the bot, used where no contracts.json says otherwise."""

from bot.core.market import ContractSpec

# Source: contract objects of KuCoin Futures (GET /api/v1/contracts/active), fields multiplier,
# tickSize, maintainMargin and maxLeverage: XBTUSDTM as in the sample of KuCoin's own SDK (2024),
# the others as in recorded answers of 2023. The exchange changes them now and then, so a
# contracts.json wins over this table.
_KNOWN = (
    ContractSpec("BTC-USDT-PERP", 0.001, 0.1, maintenance_rate=0.004, max_leverage=125.0),
    ContractSpec("ETH-USDT-PERP", 0.01, 0.01, maintenance_rate=0.005, max_leverage=100.0),
    ContractSpec("LTC-USDT-PERP", 0.1, 0.01, maintenance_rate=0.007, max_leverage=75.0),
    ContractSpec("XRP-USDT-PERP", 10.0, 0.0001, maintenance_rate=0.007, max_leverage=75.0),
    ContractSpec("ADA-USDT-PERP", 10.0, 0.00001, maintenance_rate=0.01, max_leverage=50.0),
    ContractSpec("DOGE-USDT-PERP", 100.0, 0.00001, maintenance_rate=0.007, max_leverage=75.0),
)
BUILTIN: dict[str, ContractSpec] = {spec.symbol: spec for spec in _KNOWN}
