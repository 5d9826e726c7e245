"""A short soak: all load is done, everything is sampled, and the slopes are computed."""

import random

import pytest

from tests.soak.__main__ import SEEDS, table
from tests.soak.run import SHORT, run
from tests.soak.samples import (
    FILES,
    KEYS,
    MEMORY,
    OBJECTS,
    ROWS,
    SESSIONS,
    TABLES,
    THREADS,
    TO_POSTGRES,
    TO_REDIS,
    UPLOADS,
)

OF_PROCESSES = (MEMORY, FILES, THREADS, TO_POSTGRES, TO_REDIS)


@pytest.mark.slow
async def test_a_short_soak_does_and_samples_everything() -> None:
    seed = random.randrange(SEEDS)
    result = await run(SHORT, seed)
    print(seed, table(result), sep="\n")
    assert result.wrong == []
    assert all(result.done.values()), result.done
    assert {(each.subject, each.measure) for each in result.slopes} == {
        *((name, each) for name in ("API", "worker-1", "worker-2") for each in OF_PROCESSES),
        *(("PostgreSQL", each) for each in (*map(ROWS.format, TABLES), SESSIONS)),
        ("Redis", KEYS),
        ("bucket", OBJECTS),
        ("bucket", UPLOADS),
    }
    levels = {(each.subject, each.measure): each.level for each in result.slopes}
    assert levels["PostgreSQL", "rows of exports"] > 0
    assert levels["API", TO_POSTGRES] > 0
