"""The seed of a short chaos run."""

import os
import random

import pytest

from tests.chaos.__main__ import SEEDS


@pytest.fixture
def seed() -> int:
    """To repeat a failed run, set ``CHAOS_SEED`` to the seed that it printed."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(SEEDS))
    print(f"CHAOS_SEED={seed}")
    return seed
