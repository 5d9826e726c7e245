"""Tests of other folders, as they stand, on a distributed audience."""

from types import ModuleType

import pytest

from tests.audience import (
    test_counts,
    test_drift,
    test_eligibility,
    test_estimates,
    test_triggers,
    test_unknown_dates,
)
from tests.feeds import test_events, test_imports

pytestmark = pytest.mark.citus

MODULES: tuple[ModuleType, ...] = (
    test_counts,
    test_drift,
    test_eligibility,
    test_estimates,
    test_events,
    test_imports,
    test_triggers,
    test_unknown_dates,
)

NOT_HERE = (
    # They look at the locks, or at the plan, of one server.
    "test_a_rebuild_waits_for_a_writer_of_a_wrong_address_and_counts_its_rows",
    "test_counting_reads_the_index_alone",
    # Their own statements call functions that are not immutable, which Citus refuses there.
    "test_a_merge_projects_its_inserts_updates_and_deletes",
    "test_a_plan_made_for_few_rows_does_not_scan_many",
    # A seller stays on its node: tests/citus/test_distribute.py.
    "test_a_row_may_go_to_another_seller",
)

for module in MODULES:
    for name, value in list(vars(module).items()):
        if name not in NOT_HERE and not name.startswith("_"):
            globals().setdefault(name, value)
