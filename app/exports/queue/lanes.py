"""Lanes: small exports do not wait behind large ones, nor one seller behind another's many."""

from app.config import Settings
from app.ports import Lane

LANES: tuple[Lane, ...] = ("small", "large")

SMALL_ROWS = 100_000
"""Up to this many rows fit one part of 5 MiB, and take a few hundredths of a second."""

FAIRNESS_DELAY_S = 60.0
"""By how much each export that its seller has active already sets an export back.

Where exports wait, those that other sellers request within that time go first; later ones do
not.
"""


def choose_lane(rows_estimated: int | None) -> Lane:
    """Return the lane of an export with this many rows.

    ``None`` means that the size is unknown: large, so that it cannot delay small ones.
    """
    is_small = rows_estimated is not None and rows_estimated <= SMALL_ROWS
    return "small" if is_small else "large"


def slots_per_lane(settings: Settings) -> dict[Lane, int]:
    """Return how many exports of each of a worker's lanes it runs at once.

    Large ones leave a slot at least to small ones. A worker with one slot
    has it for both lanes, which take turns at it. A worker of one lane has no
    slots for the other.
    """
    if settings.worker_lanes == ("small",):
        return {"small": settings.worker_concurrency}
    if settings.worker_lanes == ("large",):
        return {"large": min(settings.large_export_concurrency, settings.worker_concurrency)}
    large = max(1, min(settings.large_export_concurrency, settings.worker_concurrency - 1))
    return {"small": max(1, settings.worker_concurrency - large), "large": large}
