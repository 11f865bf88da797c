"""The integers of the kernel and the words people see for them.

Kernel code knows small integers only; everything outside shows the names below. A code that people
can meet must get a name, which a test checks; what an intent asks for and how an order trades stay
inside.
"""

LONG = 1
FLAT = 0
SHORT = -1

# Modes: a ladder, the most restrictive cause wins (DESIGN section 4).
RUN = 0
REDUCE_ONLY = 1
HALT = 2
FLATTEN = 3

# Strategies. The value is the kind; configuration order is the order in World.strategies.
TREND = 0
MOMENTUM = 1
REVERSION = 2
EMA_CROSS = 3

# Market regimes of one symbol.
UNKNOWN = 0
RANGE = 1
TRENDING = 2
PANIC = 3

# What an intent asks for.
NO_INTENT = 0
ENTRY = 1
EXIT = 2

# Why a position was closed.
STOP = 1
TARGET = 2
LIQUIDATION = 3
SIGNAL = 4
REVERSAL = 5
KILL = 6
END = 7
OPERATOR = 8
EXTERNAL = 9

# What became of a wish (one strategy, one symbol, one cycle).
NO_WISH = 0
ACCEPTED = 1
CUT = 2
ALREADY_IN = 3
MODE = 10
OPPOSITE = 11
OWNED = 12
SAME_SIDE = 13
MAX_POSITIONS = 14
TOTAL_CAP = 16
RISK_CAP = 17
MARGIN = 18
CORRELATED = 19
MIN_CONTRACT = 20
LIQUIDATION_NEAR = 21
LOCKED = 22
NO_EQUITY = 23
IN_FLIGHT = 24

# How an order trades.
TAKER = 0
MAKER = 1

MODE_NAMES = {RUN: "RUN", REDUCE_ONLY: "REDUCE_ONLY", HALT: "HALT", FLATTEN: "FLATTEN"}
STRATEGY_NAMES = {
    TREND: "trend",
    MOMENTUM: "momentum",
    REVERSION: "reversion",
    EMA_CROSS: "ema_cross",
}
STRATEGY_CODES = {name: code for code, name in STRATEGY_NAMES.items()}
REGIME_NAMES = {UNKNOWN: "unknown", RANGE: "range", TRENDING: "trend", PANIC: "panic"}
SIDE_NAMES = {LONG: "long", FLAT: "flat", SHORT: "short"}
REASON_NAMES = {
    STOP: "stop",
    TARGET: "target",
    LIQUIDATION: "liquidation",
    SIGNAL: "signal",
    REVERSAL: "reversal",
    KILL: "kill",
    END: "end",
    OPERATOR: "operator",
    EXTERNAL: "external",
}
VERDICT_NAMES = {
    NO_WISH: "no_wish",
    ACCEPTED: "accepted",
    CUT: "cut",
    ALREADY_IN: "already_in",
    MODE: "mode",
    OPPOSITE: "opposite",
    OWNED: "owned",
    SAME_SIDE: "same_side",
    MAX_POSITIONS: "max_positions",
    TOTAL_CAP: "total_cap",
    RISK_CAP: "risk_cap",
    MARGIN: "margin",
    CORRELATED: "correlated",
    MIN_CONTRACT: "min_contract",
    LIQUIDATION_NEAR: "liquidation_near",
    LOCKED: "locked",
    NO_EQUITY: "no_equity",
    IN_FLIGHT: "in_flight",
}
