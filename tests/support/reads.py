"""Reads of the exchange that a core state is shown, and what comes of them."""

from collections.abc import Iterable
from dataclasses import replace

from bot.core.messages import Effect
from bot.core.reconcile import Holding, OrderReport, Snapshot, in_doubt, reconcile
from tests.support.states import Desk, notices


def read(desk: Desk, **changes: object) -> Snapshot:
    """Return a read that agrees with the books, but for `changes`."""
    state = desk.state
    account = state.world.account
    resting = tuple(
        OrderReport(name, o.symbol, True, o.filled) for name, o in state.orders.items() if o.rests
    )
    asked = in_doubt(state)
    agreeing = Snapshot(
        now_ms=desk.now,
        wallet=account.deposits + account.realised - account.fees + account.funding,
        holdings=tuple(Holding(p.side, p.contracts, 100.0) for p in state.world.positions),
        open_orders=resting,
        asked=asked,
        reports={report.client_id: report for report in resting},
    )
    return replace(agreeing, **changes)  # type: ignore[arg-type]


def seen(desk: Desk, snapshot: Snapshot) -> list[Effect]:
    """Reconcile; return all effects."""
    return [e for event in reconcile(desk.state, snapshot) for e in desk.feed(event)]


def kinds(effects: Iterable[Effect]) -> list[str]:
    """Return what kinds of notices are among effects."""
    return [notice.kind for notice in notices(list(effects))]
