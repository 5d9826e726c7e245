"""Run the tests of one file, and those of one server, in one process of pytest-xdist.

Groups are derived from node ids, not from ``pytest.mark.xdist_group``: pytest 9.2 does not show
the suffix by which pytest-xdist 3.8 hands a mark's group to its scheduler, and would run
every test anywhere, with a server of each fixture in each process.
"""

import re
from typing import Any

from xdist.scheduler.loadscope import (  # type: ignore[import-untyped]  # xdist has no types
    LoadScopeScheduling,
)

CEPH = re.compile(
    r"tests/adapters/s3/test_(encryption|integrity|lifecycle|signing|storage|storage_contract)\.py"
    r"|tests/doctor/test_bucket\.py"
    r"|.*::.*\bceph\b|.*::.*_ceph_"
)
"""Node ids of tests that use Ceph, and of the rest of most of their files."""


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives whole groups to processes, in the order of the collection."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the group of a test: its file, or all tests of its server."""
    file = nodeid.partition("::")[0]
    if CEPH.match(nodeid):
        return "ceph"
    if file.startswith("tests/browser/"):
        return "browser"
    if file.startswith("tests/end_to_end/"):
        return next((name for name in ("direct", "pgbouncer") if f"[{name}" in nodeid), file)
    return file
