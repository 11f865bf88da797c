"""The motion of the synthetic market: one factor that all coins share, and each coin's own path.

Rules of this file: randomness comes from generators owned by one object each, seeded by the run's
seed and the object's name, so that neither the number of bars nor the other symbols change a path;
the state that moves on is never rounded, only what is handed out lies on the grid.
"""

import math
from random import Random
from statistics import NormalDist

from bot.core.kernel.params import Spec
from bot.core.kernel.prices import on_grid
from bot.core.market import (
    DAY_MS,
    FUNDING_INTERVAL_MS,
    HOUR_MS,
    MINUTE_MS,
    Bar,
    ContractSpec,
    ticks_per_unit,
)
from bot.sim.market_model import HOURS_PER_WEEK, LogVolatility, MarketModel, weekly_profile

STEPS = 6  # points of the sub-path of a bar
YEAR_MS = 365 * DAY_MS
SHORT_COMPONENTS = 3  # of log volatility: those that a jump moves
BROWNIAN_RANGE = math.sqrt(8.0 / math.pi)  # mean range of a Brownian path, in deviations of its end
RUSH_STRAIGHT = 0.5  # of a jump's size; straight and swing together have about its mean square
RUSH_SWING = 0.75
RUSH_OVER = 1e-5  # log; what is left of a jump below this no longer matters
BASE_RATE = 0.0001  # interest part of the funding rate, per 8 h
# KuCoin's and Binance's formula: a premium this close to the base rate leaves the base rate itself.
PREMIUM_BAND = 0.0005
FUNDING_LIMIT = 0.0075
RATE_DIGITS = 6  # KuCoin quotes funding rates to 0.0001 %

# Random.gauss costs four times as much. random() may be 0, which has no quantile: hence `or 0.5`.
normal_quantile = NormalDist().inv_cdf


class LogVolatilityPath:
    """The sum of several mean-reverting components of log volatility, as averages over bars.

    Each component is an Ornstein-Uhlenbeck process. What is shorter than a bar averages out within
    it, so its spread shrinks by the known factor: one set of parameters serves 1m and 1h alike.
    """

    def __init__(self, components: tuple[LogVolatility, ...], bar_ms: int, rng: Random) -> None:
        self.rng = rng
        self.factors: list[tuple[float, float]] = []
        self.values: list[float] = []
        self.variance = 0.0
        for component in components:
            ratio = component.hours * HOUR_MS / bar_ms
            decay = math.exp(-1.0 / ratio)
            deviation = component.deviation * math.sqrt(2.0 * ratio * (1.0 - ratio * (1.0 - decay)))
            self.factors.append((decay, deviation * math.sqrt(1.0 - decay * decay)))
            self.values.append(rng.gauss(0.0, deviation))
            self.variance += deviation * deviation

    def step(self, push: float = 0.0) -> float:
        """Move on by one bar, pushed by `push` deviations; `exp` of the sum has mean square 1."""
        random = self.rng.random
        self.values = values = [
            value * decay + noise * (push + normal_quantile(random() or 0.5))
            for value, (decay, noise) in zip(self.values, self.factors, strict=True)
        ]
        return sum(values) - self.variance

    def shock(self, size: float) -> None:
        """Raise the short components by `size`; they take it back at their own pace."""
        for i in range(min(SHORT_COMPONENTS, len(self.values))):
            self.values[i] += size


class MarketFactor:
    """What all coins share in a bar: regime, volatility, and the moves of the sub-path."""

    def __init__(self, model: MarketModel) -> None:
        self.model = model
        self.rng = rng = Random(f"{model.seed}/market")
        self.days = model.timeframe_ms / DAY_MS
        self.step_years = model.timeframe_ms / YEAR_MS / STEPS
        self.profile = weekly_profile(max(1, model.timeframe_ms // HOUR_MS))
        self.by_name = {regime.name: regime for regime in model.regimes}
        self.regime = rng.choices(model.regimes, [regime.days for regime in model.regimes])[0]
        self.regime_volatility = math.log(self.regime.volatility)
        self.regime_own = math.log(self.regime.own_volatility)
        self.regime_pull = 1.0 - math.exp(-model.timeframe_ms / (model.regime_hours * HOUR_MS))
        self.volatility = LogVolatilityPath(model.components, model.timeframe_ms, rng)
        self.fall = 0.0
        self.rush = 0.0
        self.rush_share = _share_of_step(model.rush_minutes, model.timeframe_ms)
        self.premium_decay = math.exp(-FUNDING_INTERVAL_MS / (model.premium_days * DAY_MS))
        self.premium = self.regime.premium
        # of the bar drawn last
        self.moves = [0.0] * STEPS
        self.step_deviation = 0.0
        self.own_level = 1.0
        """factor on the coins' own volatility"""

    def step(self, open_ms: int) -> None:
        """Draw the bar that opens at `open_ms`."""
        model, rng = self.model, self.rng
        self._change_regime()
        # A fall raises the volatility of later bars, never of its own.
        wander = self.volatility.step(model.leverage_effect * self.fall)
        season = self.profile[open_ms // HOUR_MS % HOURS_PER_WEEK]
        self.own_level = season * math.exp(model.own_share * wander + self.regime_own)
        deviation = season * math.exp(wander + self.regime_volatility)
        self.step_deviation = deviation = deviation * model.volatility * math.sqrt(self.step_years)
        normals = [normal_quantile(rng.random() or 0.5) for _ in range(STEPS)]
        self.fall = -sum(normals) / math.sqrt(STEPS)
        drift = self.regime.drift * self.step_years
        self.moves = [drift + deviation * normal for normal in normals]
        if rng.random() < model.jumps_per_day * self.regime.jumps * self.days:
            size = rng.expovariate(1.0 / model.jump_size)
            self.rush += -size if rng.random() < model.jump_down else size
            self.volatility.shock(model.jump_shock)
            self.rush = unfold(self.rush, self.rush_share, self.moves, rng.randrange(STEPS), rng)
        elif self.rush != 0.0:
            self.rush = unfold(self.rush, self.rush_share, self.moves, 0, rng)

    def settle(self) -> float:
        """Move the market's funding premium on by one interval and return it."""
        noise = self.model.premium_noise * math.sqrt(1.0 - self.premium_decay**2)
        # Crowded longs make the premium jumpy: its real distribution has the longer tail above.
        noise *= clamp(0.7 + self.premium / PREMIUM_BAND, 0.5, 2.0)
        pull = (1.0 - self.premium_decay) * (self.regime.premium - self.premium)
        self.premium += pull + noise * self.rng.gauss(0.0, 1.0)
        return self.premium

    def _change_regime(self) -> None:
        if self.rng.random() < self.days / self.regime.days:
            names = [name for name, _ in self.regime.next]
            weights = [weight for _, weight in self.regime.next]
            self.regime = self.by_name[self.rng.choices(names, weights)[0]]
        target, own = math.log(self.regime.volatility), math.log(self.regime.own_volatility)
        self.regime_volatility += self.regime_pull * (target - self.regime_volatility)
        self.regime_own += self.regime_pull * (own - self.regime_own)


class SymbolPath:
    """The price, volume and funding of one symbol."""

    def __init__(self, model: MarketModel, spec: ContractSpec) -> None:
        coin = model.coin(spec.symbol)
        bar_ms = model.timeframe_ms
        self.rng = rng = Random(f"{model.seed}/{spec.symbol}")
        self.holes = Random(f"{model.seed}/{spec.symbol}/holes")
        self.hole_rate = model.hole_rate
        self.model, self.beta = model, coin.beta
        self.grid = Spec(tick=spec.tick, ticks_per_unit=ticks_per_unit(spec.tick))
        self.lots = Spec(tick=spec.multiplier, ticks_per_unit=ticks_per_unit(spec.multiplier))
        self.own = LogVolatilityPath(model.own_components, bar_ms, rng)
        self.own_deviation = coin.volatility * math.sqrt(bar_ms / YEAR_MS / STEPS)
        self.jump_probability = model.own_jumps_per_day * bar_ms / DAY_MS
        self.jump_size = model.own_jump_size * coin.volatility
        self.rush = 0.0
        self.rush_share = _share_of_step(model.rush_minutes, bar_ms)
        self.first = self.log_price = math.log(coin.price)
        self.anchor = bar_ms / (model.anchor_years * YEAR_MS)
        # Given back within a sub-step already, and left over after it.
        steps_per_memory = model.overreaction_minutes * MINUTE_MS * STEPS / bar_ms
        self.giveback = math.exp(-1.0 / steps_per_memory)
        self.excess_share = model.overreaction * steps_per_memory * (1.0 - self.giveback)
        self.excess = 0.0
        moves_per_step = model.moves_per_minute * bar_ms / MINUTE_MS / STEPS
        self.wick = model.wick * (1.0 - 1.0 / math.sqrt(max(1.0, moves_per_step)))
        self.close_ticks = max(1, round(coin.price / spec.tick))
        total = math.hypot(coin.beta * model.volatility, coin.volatility)
        self.typical_range = BROWNIAN_RANGE * total * math.sqrt(bar_ms / YEAR_MS)
        # In coins, not in USDT: in real markets a rising price raises turnover, not coins traded.
        self.coins_traded = coin.turnover / coin.price * bar_ms / DAY_MS
        self.volume_slope = model.volume_slope
        self.volume = LogVolatilityPath(model.volume_components, bar_ms, rng)
        self.settled_price = self.log_price
        self.premium = 0.0

    def step(self, factor: MarketFactor) -> Bar | None:
        """Return the symbol's bar for what the factor drew last; None where nobody traded."""
        rng, beta = self.rng, self.beta
        random = rng.random
        own = self.own_deviation * factor.own_level * math.exp(self.own.step())
        moves = [beta * move + own * normal_quantile(random() or 0.5) for move in factor.moves]
        if random() < self.jump_probability:
            self._jump(moves)
        elif self.rush != 0.0:
            self.rush = unfold(self.rush, self.rush_share, moves, 0, rng)
        price, excess = self.log_price, self.excess
        giveback, share = self.giveback, self.excess_share
        high = low = seen = price + excess
        for move in moves:
            price += move
            excess = excess * giveback + share * move
            seen = price + excess
            if seen > high:
                high = seen
            elif seen < low:
                low = seen
        # The sub-path is coarse: the true extremes lie beyond its own by about a part of a step.
        reach = self.wick * math.hypot(beta * factor.step_deviation, own)
        high -= reach * math.log(1.0 - random())
        low += reach * math.log(1.0 - random())
        self.excess = excess
        self.log_price = price + self.anchor * (self.first - price)
        bar = self._quote(high, low, seen)
        if self.hole_rate > 0.0 and self.holes.random() < self.hole_rate:
            return None
        return bar

    def settle(self, market_premium: float, decay: float) -> float:
        """Return the funding rate of the interval that ends now, a fraction of notional.

        The coin's premium is the market's plus its own, which grows with what the price did in the
        interval. The exchanges' formula: rate = premium + clamp(base - premium, +-0.05 %).
        """
        model = self.model
        gain = model.premium_momentum * (self.log_price - self.settled_price)
        noise = 0.5 * model.premium_noise * math.sqrt(1.0 - decay * decay)
        self.premium = self.premium * decay + gain + noise * self.rng.gauss(0.0, 1.0)
        self.settled_price = self.log_price
        premium = market_premium + self.premium
        rate = premium + clamp(BASE_RATE - premium, -PREMIUM_BAND, PREMIUM_BAND)
        return round(clamp(rate, -FUNDING_LIMIT, FUNDING_LIMIT), RATE_DIGITS)

    def _jump(self, moves: list[float]) -> None:
        size = self.rng.expovariate(1.0 / self.jump_size)
        self.rush += size if self.rng.random() < 0.5 else -size
        self.own.shock(self.model.jump_shock)
        self.rush = unfold(self.rush, self.rush_share, moves, self.rng.randrange(STEPS), self.rng)

    def _quote(self, high: float, low: float, close: float) -> Bar:
        """Return the bar on the grid, opened at the last close or a tick beside it."""
        grid, lots, tick = self.grid, self.lots, self.grid.tick
        beside = self.rng.getrandbits(2)  # 0 a tick lower, 3 a tick higher, else the same
        first = self.close_ticks + (beside == 3) - (beside == 0) or 1
        self.close_ticks = last = round(math.exp(close) / tick) or 1
        top = max(first, last, round(math.exp(high) / tick))
        bottom = min(first, last, round(math.exp(low) / tick) or 1)
        width = (top - bottom + 0.5) / last / self.typical_range
        coins = self.coins_traded * width**self.volume_slope * math.exp(self.volume.step())
        return Bar(
            on_grid(first, grid),
            on_grid(top, grid),
            on_grid(bottom, grid),
            on_grid(last, grid),
            on_grid(round(coins / lots.tick) or 1, lots),
        )


def unfold(rush: float, share: float, moves: list[float], first: int, rng: Random) -> float:
    """Add what comes of a jump to the steps from `first` on, and return what is still to come.

    A step gets `share` of the rest. A part goes straight, the larger part swings at random, since a
    rush of orders overshoots both ways: straight jumps would make returns of minutes predictable.
    """
    swing = RUSH_SWING * math.sqrt(share * (2.0 - share))
    for k in range(first, STEPS):
        moves[k] += rush * (RUSH_STRAIGHT * share + swing * rng.gauss(0.0, 1.0))
        rush -= rush * share
    return rush if abs(rush) > RUSH_OVER else 0.0


def _share_of_step(minutes: float, bar_ms: int) -> float:
    return 1.0 - math.exp(-bar_ms / (STEPS * minutes * MINUTE_MS))


def clamp(value: float, low: float, high: float) -> float:
    """Return `value` limited to low..high."""
    return max(low, min(high, value))
