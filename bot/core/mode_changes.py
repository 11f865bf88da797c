"""How causes come and go: by the limits of the kernel, by time, by what the shell observes."""

from bot.core.fills import note_error
from bot.core.kernel.codes import FLATTEN
from bot.core.messages import Condition, Effect, Level, Notice, Tick
from bot.core.modes import Cause, Clearer
from bot.core.protect import cancel_entries, renew_levels
from bot.core.state import ERROR_QUIET_MS, State


def sync_limits(state: State) -> None:
    """Let the limits the kernel latched become causes, and let the daily one go with its day."""
    account = state.world.account
    if account.killed_at != 0:
        state.modes.tighten(Cause.DRAWDOWN, state.now_ms)
    if account.daily_locked != 0:
        state.modes.tighten(Cause.DAILY_LOSS, state.now_ms)
    else:
        state.modes.clear(Cause.DAILY_LOSS, Clearer.NEXT_DAY)


def clear_timed(state: State) -> list[Effect]:
    """Lift what time lifts: symbol locks, and the error breaker after its quiet time."""
    effects: list[Effect] = []
    before = state.modes.name
    for k, guard in enumerate(state.guards):
        if guard.locked_until and state.now_ms >= guard.locked_until:
            guard.locked_until = 0
            state.relock(k)
            effects.append(Notice(state.now_ms, Level.INFO, "unlocked", k, "lock is over"))
    if state.now_ms - state.last_error_ms >= ERROR_QUIET_MS and state.modes.clear(
        Cause.EXCHANGE_ERRORS, Clearer.QUIET_TIME
    ):
        state.error_times = []
        if state.modes.name == before:  # else its change is told: no journal has a silent tick
            text = f"{ERROR_QUIET_MS // 60_000} min without errors of the exchange"
            effects.append(Notice(state.now_ms, Level.INFO, "errors_over", -1, text))
    return effects


def mode_notice(state: State, before: str) -> list[Effect]:
    """Say that the mode changed, and why."""
    if state.modes.name == before:
        return []
    causes = ", ".join(sorted(cause.label for cause in state.modes.causes)) or "all clear"
    level = Level.CRITICAL if state.modes.mode == FLATTEN else Level.WARNING
    return [Notice(state.now_ms, level, "mode", -1, f"{before} -> {state.modes.name}: {causes}")]


def on_condition(state: State, event: Condition) -> list[Effect]:
    """Take what the shell observes: such a cause comes and goes with its condition."""
    before = state.modes.name
    effects: list[Effect] = []
    if not event.active:
        state.modes.clear(event.cause, Clearer.CONDITION)
    elif state.modes.tighten(event.cause, event.now_ms) and (
        event.cause is Cause.EXCHANGE_UNREACHABLE
    ):
        effects = note_error(state, event.now_ms)  # an outage is one error, however long it is
    if event.cause is Cause.STOPPING and event.active:
        return cancel_entries(state)  # nobody would see to the stop of what they buy
    if event.cause in (Cause.RECOVERING, Cause.STOPPING):  # nothing a person must hear of
        return []
    return [*effects, *mode_notice(state, before)]


def on_tick(state: State, event: Tick) -> list[Effect]:
    """Look at timed locks, and at what waits for a line."""
    before = state.modes.name
    return [*clear_timed(state), *renew_levels(state), *mode_notice(state, before)]
