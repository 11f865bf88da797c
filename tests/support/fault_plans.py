"""The faults at every phase of an order's life, as a matrix and as storms."""

from random import Random

from bot.core.messages import Role
from bot.sim.faults import Fault, Kind, Moment

type Cell = tuple[Kind, Role, Moment]

SENT = (Kind.REJECT, Kind.DROP, Kind.LATE, Kind.DISCONNECT, Kind.UNKNOWN)
TOLD = (
    Kind.DROP,
    Kind.DELAY,
    Kind.DUPLICATE,
    Kind.REORDER,
    Kind.OLD_CLOCK,
    Kind.DISCONNECT,
)
OUTSIDE = (
    Kind.CLOSED_OUTSIDE,
    Kind.REDUCED_OUTSIDE,
    Kind.LIQUIDATED,
    Kind.FOREIGN_ORDER,
    Kind.OLD_READ,
)
RESTING = (Role.STOP, Role.TARGET)
OLD_READ_S = 4.0
"""reads that lag longer than DIFFERENT_MS in bot/core/state.py cannot be told from the truth"""

STORM = 12  # faults
CELLS: list[Cell] = [
    *((kind, role, Moment.SEND) for kind in SENT for role in Role),
    *((kind, role, Moment.ANSWER) for kind in TOLD for role in Role),
    *((kind, role, Moment.FILL) for kind in TOLD for role in Role),
    *((kind, Role.ENTRY, Moment.FILL) for kind in OUTSIDE),
    *(
        (kind, role, Moment.CANCEL)
        for kind in (Kind.DROP, Kind.LATE, Kind.DISCONNECT)
        for role in RESTING
    ),
    *((kind, role, Moment.GONE) for kind in TOLD[:4] for role in RESTING),
]


def name_of(cell: Cell) -> str:
    """Return a cell as people write it: drop-entry-fill."""
    return "-".join(part.value for part in cell)


def single(cell: Cell, seed: int) -> list[Fault]:
    """Return the plan of one fault, at the first or the second chance."""
    nth = Random(f"{seed} {name_of(cell)}").randint(1, 2)
    seconds = OLD_READ_S if cell[0] is Kind.OLD_READ else 20.0
    return [Fault(*cell, nth, seconds)]


def storm(seed: int) -> list[Fault]:
    """Return a plan of many faults of all sorts. A foreign order is not among them: it holds
    entries until a person has looked, and nothing would follow."""
    rng = Random(seed)
    quiet = [cell for cell in CELLS if cell[0] is not Kind.FOREIGN_ORDER]
    plan = []
    for cell in rng.sample(quiet, STORM):
        most = 2 if cell[1] is Role.TARGET else 4
        seconds = OLD_READ_S if cell[0] is Kind.OLD_READ else rng.uniform(1.0, 60.0)
        plan.append(Fault(*cell, rng.randint(1, most), seconds))
    return plan
