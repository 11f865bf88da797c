"""Every key of the configuration: its type, range, default and meaning, in one place.

Error messages, the sample file `config/paper.yml` and the documents are generated from this schema.
A rule about one key stands here, a rule about several keys in config_rules.py. Numbers are strict:
`"1"` and `yes` are none, a whole number is also a fraction, and NaN and infinity do not exist.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bot.core.errors import InputError
from bot.core.kernel.params import Params
from bot.core.market import TIMEFRAMES_MS, parse_symbol


def _symbol(text: str) -> str:
    try:
        return parse_symbol(text)
    except InputError as error:  # pydantic collects ValueErrors; the key is named by the caller
        raise ValueError(str(error).removeprefix("symbol: ")) from error


type Timeframe = Literal["1m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d"]
type Strategy = Literal["trend", "momentum", "reversion", "ema_cross"]
type Symbol = Annotated[str, AfterValidator(_symbol)]
type Share = Annotated[float, Field(gt=0, lt=1)]
type Bps = Annotated[float, Field(ge=0, le=100)]
type StopShare = Annotated[float, Field(ge=0.005, le=0.2)]
type Multiple = Annotated[float, Field(gt=0, le=100)]
type Period = Annotated[int, Field(ge=2, le=5000)]
type Usdt = Annotated[float, Field(ge=0, le=1e9)]
type Seconds = Annotated[float, Field(gt=0, le=3600)]
type Url = Annotated[
    str, Field(pattern=r"^https?://[A-Za-z0-9.:-]+$", json_schema_extra={"format": "uri"})
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Costs(_Section):
    """What trading costs in paper and backtest. The costs of ema_cross are fixed: it allows no such
    section."""

    maker_fee: float = Field(
        0.0002,
        ge=-0.001,
        le=0.01,
        description="Fee of resting orders (targets), fraction of notional. KuCoin base level.",
    )
    taker_fee: float = Field(
        0.0006,
        ge=0,
        le=0.01,
        description="Fee of market orders and stops, fraction of notional. KuCoin base level.",
    )
    spread_bps: Bps = Field(
        1.0, description="Whole spread, basis points; a market order pays half of it."
    )
    slippage_bps: Bps = Field(1.0, description="Market impact of a market order, basis points.")
    latency_bps: Bps = Field(
        1.0, description="What the price moves away until an order arrives, basis points."
    )
    entry_band_bps: float = Field(
        30.0,
        gt=0,
        le=500,
        description="Furthest an entry, an IOC limit, is from the reference price, basis points.",
    )


class TierRow(_Section):
    """One row of the balance table."""

    floor: Usdt = Field(description="The row holds from this equity on, USDT.")
    leverage: float = Field(ge=1, le=100, description="Sets the isolated margin only.")
    max_position_share: Multiple = Field(
        description="Largest notional of one position, share of equity."
    )
    risk_per_trade: Share = Field(description="Loss at the stop, share of equity.")
    max_position_usdt: Annotated[float, Field(gt=0, le=1e9)] | None = Field(
        None, description="Largest notional of one position, USDT; null is no such cap."
    )


# Source: the balance table of the design, section 4.
_TIERS = (
    TierRow(floor=0, leverage=4, max_position_share=0.3, risk_per_trade=0.01),
    TierRow(floor=100, leverage=6, max_position_share=0.4, risk_per_trade=0.015),
    TierRow(floor=1_000, leverage=8, max_position_share=0.5, risk_per_trade=0.02),
    TierRow(floor=10_000, leverage=10, max_position_share=0.6, risk_per_trade=0.025),
    TierRow(
        floor=100_000,
        leverage=12,
        max_position_share=0.6,
        risk_per_trade=0.03,
        max_position_usdt=50_000,
    ),
)


class Risk(_Section):
    """Limits of the account. Shares are fractions: 0.1 is 10 %."""

    max_positions: int = Field(3, ge=1, le=50, description="Open positions at once.")
    max_total_notional: Multiple = Field(
        1.5, description="Notional of all positions together, multiple of equity."
    )
    max_stop_risk: Share = Field(
        0.06, description="Loss if every stop is hit, all positions together, share of equity."
    )
    daily_loss_limit: Share = Field(
        0.10,
        description="Loss since 00:00 UTC, share of the day's first equity, beyond which no "
        "position is opened until the next day.",
    )
    drawdown_limit: Share = Field(
        0.15, description="Loss from the peak of equity beyond which the kill switch is pulled."
    )
    fast_drawdown_limit: Share = Field(0.10, description="The same within fast_drawdown_minutes.")
    fast_drawdown_minutes: int = Field(
        60, ge=1, le=1440, description="Window of the fast drawdown, minutes."
    )
    correlation_limit: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Symbols whose last 168 hourly returns correlate by this or more share one "
        "position cap when held on the same side.",
    )
    tier_hysteresis: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="A higher row of the tiers is entered this share above its floor.",
    )
    min_balance: Usdt = Field(
        100.0, description="Live trading refuses to start below this balance, USDT."
    )
    recommended_balance: Usdt = Field(
        500.0, description="Live trading warns below this balance, USDT."
    )
    tiers: tuple[TierRow, ...] = Field(
        _TIERS,
        strict=False,
        min_length=1,
        max_length=50,
        description="The balance table. The row is chosen at entry; open positions keep their "
        "leverage. A list given here replaces the whole table.",
    )


class Stops(_Section):
    """Stop losses. Distances are shares of the entry price; trailing is in stop distances."""

    min: StopShare = Field(0.02, description="Nearest stop.")
    max: StopShare = Field(0.05, description="Furthest stop.")
    atr: Multiple = Field(
        2.5, description="Stop distance in average true ranges, then held between min and max."
    )
    liquidation_buffer: Share = Field(
        0.25,
        description="The stop lies before the liquidation price by this share of its distance.",
    )
    trail_start: float = Field(
        1.0, ge=0, le=100, description="The stop trails from this profit on, in stop distances."
    )
    trail_gap: Multiple = Field(
        1.0, description="The trailing stop follows the best close at this many stop distances."
    )


class Trend(_Section):
    """Strategy trend: follows two moving averages that part, in a trending market only."""

    fast: Period = Field(20, description="Fast exponential average, bars.")
    slow: Period = Field(55, description="Slow exponential average, bars.")
    band_atr: Multiple = Field(
        0.5, description="Enter when the averages are this many average true ranges apart."
    )
    adx: float = Field(
        22.0,
        ge=0,
        le=100,
        description="Average directional index from which on the market is trending, for every "
        "strategy.",
    )
    adx_period: Period = Field(
        14,
        description="Wilder's averages (directional index, true range), bars, for every strategy.",
    )
    reward: Multiple = Field(3.0, description="Target distance in stop distances.")


class Momentum(_Section):
    """Strategy momentum: follows a mean return that is significant against its own noise."""

    period: Period = Field(48, description="Exponential mean and deviation of returns, bars.")
    entry: Multiple = Field(2.0, description="Enter at this t-value of the mean return.")
    exit: float = Field(
        0.0, ge=-100, le=100, description="Leave when the t-value is below this on our side."
    )
    reward: Multiple = Field(2.5, description="Target distance in stop distances.")


class Reversion(_Section):
    """Strategy reversion: trades back to the mean from an extreme, in a ranging market only."""

    period: Period = Field(40, description="Exponential mean and deviation of the price, bars.")
    entry: Multiple = Field(
        2.0, description="Enter on the return from this many deviations off the mean."
    )
    exit: float = Field(
        0.0,
        ge=-100,
        le=100,
        description="Leave when the price is this many deviations beyond the mean; negative is "
        "before it.",
    )
    reward: Multiple = Field(1.5, description="Target distance in stop distances.")


class Regime(_Section):
    """Market regime, judged for each symbol: in a panic nothing is entered."""

    fast: Period = Field(24, description="Short-term volatility, bars.")
    slow: Period = Field(240, description="Long-term volatility, bars.")
    panic_ratio: float = Field(
        2.5, ge=1, le=100, description="Short-term over long-term volatility that makes a panic."
    )


class Paper(_Section):
    """Paper trading."""

    speed: Annotated[float, Field(gt=0, le=1e6)] | Literal["max"] = Field(
        60.0,
        description="Market seconds per second; max runs in virtual time and ends by itself. "
        "KuCoin's market runs at exchange.speed instead.",
    )
    seed: int = Field(16, ge=0, le=2**31 - 1, description="Seed of the synthetic market.")
    market: Literal["synthetic", "replay", "kucoin"] = Field(
        "synthetic",
        description="Embedded generator, recorded candles, or KuCoin's public data (needs no key).",
    )


class Exchange(_Section):
    """The exchange of live trading, and of paper.market kucoin. Credentials are files, never
    configuration."""

    futures_url: Url = Field("https://api-futures.kucoin.com", description="KuCoin Futures.")
    spot_url: Url = Field(
        "https://api.kucoin.com", description="KuCoin, for questions about the key and the account."
    )
    timeout_s: Annotated[float, Field(gt=0, le=10)] = Field(
        5.0, description="A request without an answer is given up after this, seconds."
    )
    ipv4: bool = Field(True, description="Go out over IPv4 only: keys are bound to IPv4 addresses.")
    websocket: bool = Field(
        True, description="Hear of fills at once; without it the next read of the account tells."
    )
    max_clock_offset_s: Seconds = Field(
        1.0, description="Live trading refuses to start when the host's clock is off by more."
    )
    speed: Annotated[float, Field(ge=1, le=1000)] = Field(
        1.0,
        description="Market seconds per second; above 1 only against a simulator on this machine. "
        "Deadlines run as fast: from about 30 on, stops may come too late.",
    )


class Timing(_Section):
    """Deadlines of the running bot, seconds. They must hold in this order: uncovered_alert_s <
    uncovered_close_s < watchdog_s; bar_wait_s below the timeframe; bar_wait_s and snapshot_s below
    watchdog_s."""

    bar_wait_s: Seconds = Field(
        5.0, description="A bar is waited for this long after its end, then decided without."
    )
    snapshot_s: Seconds = Field(10.0, description="Between two reads of the account.")
    uncovered_alert_s: Seconds = Field(
        5.0, description="A position without a full stop is CRITICAL after this."
    )
    uncovered_close_s: Seconds = Field(
        15.0, description="A position without a full stop is closed after this."
    )
    watchdog_s: Seconds = Field(
        20.0, description="A process without progress is restarted after this (WatchdogSec)."
    )


class Config(_Section):
    """Configuration of the bot. Every key may be left out: it then has the value shown here.

    A value is also set by an environment variable, RADBOT__RISK__MAX_POSITIONS=2, and above that by
    an option, --set risk.max_positions=2. Check a file with: radbot validate-config FILE
    """

    symbols: tuple[Symbol, ...] = Field(
        ("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP", "XRP-USDT-PERP", "DOGE-USDT-PERP"),
        strict=False,
        min_length=1,
        max_length=50,
        description="Perpetuals to trade, in order of precedence.",
    )
    timeframe: Timeframe = Field("1m", description="Length of a bar; one decision per bar.")
    strategies: tuple[Strategy, ...] = Field(
        ("trend", "momentum", "reversion"),
        strict=False,
        min_length=1,
        max_length=3,
        description="Strategies in order of precedence. ema_cross stands alone: it is the "
        "reference for comparing engines, without limits and never live.",
    )
    balance: float = Field(
        10_000.0, gt=0, le=1e9, description="Deposit of paper trading and backtests, USDT."
    )
    on_stop: Literal["keep", "close"] = Field(
        "keep",
        description="Open positions when the bot is stopped: keep leaves them under their stops, "
        "close leaves the market first, within 10 seconds.",
    )
    warmup_bars: Annotated[int, Field(ge=1, le=50_000)] | None = Field(
        None,
        description="Bars a symbol must have shown before its signals count; null is the longest "
        "period in use.",
    )
    costs: Costs = Costs()
    risk: Risk = Risk()
    stops: Stops = Stops()
    trend: Trend = Trend()
    momentum: Momentum = Momentum()
    reversion: Reversion = Reversion()
    regime: Regime = Regime()
    paper: Paper = Paper()
    exchange: Exchange = Exchange()
    timing: Timing = Timing()

    @property
    def is_reference(self) -> bool:
        """Whether this is profile `reference`: the strategy ema_cross, alone."""
        return self.strategies == ("ema_cross",)

    @property
    def timeframe_ms(self) -> int:
        """Length of a bar, ms."""
        return TIMEFRAMES_MS[self.timeframe]

    def warmup_bars_in_use(self) -> int:
        """Return `warmup_bars`, or the longest period that the configured strategies depend on.

        Every strategy depends on the market regime and on the average true range of the stop.
        """
        if self.warmup_bars is not None:
            return self.warmup_bars
        if self.is_reference:
            return Params().cross_first_bar
        periods = {
            "trend": self.trend.slow,
            "momentum": self.momentum.period,
            "reversion": self.reversion.period,
        }
        needed = [periods[name] for name in self.strategies]
        return max(self.regime.slow, self.trend.adx_period, *needed)
