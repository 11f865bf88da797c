"""The functions that decide and account: numbers only, one implementation for every caller.

Written in the kernel dialect, so that plain Python and the compiled form agree in every bit:
`+ - * / // %`, `math.sqrt`, `abs min max math.floor`, comparisons. No `**`, no `sum()`, no exp or
log; every divisor and index is guarded. Records are addressed as `s.field`, never copied as a
whole.

registry    which functions are kernel functions
codes       the integers that stand for sides, modes, reasons and verdicts, and their names
params      what never changes while a run lasts: parameters, balance tiers, contracts
records     the state: dataclasses of int and float fields, and the World that holds them
prices      tick grid, slippage, limits of an order
indicators  incremental indicators and the market regime of one symbol
strategies  what each strategy wants: trend, momentum, reversion, and the reference ema_cross
levels      stop, target, trailing and liquidation levels, and what a bar does to them
accounting  fills, funding, equity, the identity on two paths, trades
limits      balance tiers, daily loss, drawdown, the day roll
exposure    what open and accepted positions use of each cap, and correlation
sizing      how many contracts, and which cap said so
arbitration collisions between wishes, and who wins
decide      one decision cycle over all symbols
replay      the loop over candle arrays
"""
