"""A deterministic exchange and market, built on the kernel's prices, fees, funding and
liquidation."""
