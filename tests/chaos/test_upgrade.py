"""A short upgrade under faults: nothing is lost, stuck, done twice or wrong."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import table
from tests.chaos.run import run
from tests.chaos.upgrade import SHORT_COURSE, SHORT_UPGRADE, Upgrade


@pytest.mark.history
async def test_every_export_ends_well_while_each_version_meets_the_other(
    seed: int, tmp_path: Path
) -> None:
    outcome = await run(SHORT_UPGRADE, seed, Upgrade(tmp_path, SHORT_COURSE))
    print(table(outcome, seed))
    assert outcome.verdict.faults == []
