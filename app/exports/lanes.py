"""The lanes: small exports do not wait for large ones, nor one seller for another's many."""

from app.config import Settings
from app.ports import Lane

LANES: tuple[Lane, ...] = ("small", "large")

SMALL_ROWS = 100_000
"""Up to so many rows fit one part of 5 MiB, and take a few hundredths of a second."""

TURN_S = 60.0
"""By how much each export that its seller has active already sets an export back.

Whoever asks in the meantime goes first, if there is a queue at all; nobody
is overtaken by what is asked for later than that.
"""


def lane_of(rows_estimated: int | None) -> Lane:
    """Return the lane of an export with so many rows.

    One whose size nobody knows goes where it can hold up no small one.
    """
    is_small = rows_estimated is not None and rows_estimated <= SMALL_ROWS
    return "small" if is_small else "large"


def lane_places(settings: Settings) -> dict[Lane, int]:
    """Return how many exports of each lane one worker runs at once.

    Large ones leave a place at least to small ones. A worker with one place
    has it for both lanes, which take turns at it.
    """
    large = max(1, min(settings.large_exports, settings.worker_concurrency - 1))
    return {"small": max(1, settings.worker_concurrency - large), "large": large}
