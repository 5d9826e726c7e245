"""Tests that share a file or a server run in one process."""

from dataclasses import dataclass, field
from itertools import chain
from types import SimpleNamespace

import pytest

from tests.scheduling import GroupScheduling, group_of

IDS = [
    "tests/plans/test_plans.py::test_one",
    "tests/api/test_main.py::test_one",
    "tests/end_to_end/test_cli.py::test_one[direct]",
    "tests/plans/test_plans.py::test_two[a@b]",
    "tests/end_to_end/test_feeds.py::test_two[direct]",
    "tests/plans/test_plans.py::test_three",
]


@dataclass(eq=False)
class Worker:
    """A process of pytest-xdist, and the tests that it was given."""

    given: list[str] = field(default_factory=list)
    gateway: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(id="gw"))
    shutting_down: bool = False

    def send_runtest_some(self, indexes: list[int]) -> None:
        """Take tests."""
        self.given += [IDS[index] for index in indexes]

    def shutdown(self) -> None:
        """Take no more tests."""
        self.shutting_down = True


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/api/test_main.py::test_x[ceph]", "ceph"),
        ("tests/api/test_main.py::test_x[1-ceph-2]", "ceph"),
        ("tests/devstack/test_servers.py::test_ceph_answers", "ceph"),
        ("tests/doctor/test_bucket.py::test_x[moto]", "ceph"),
        ("tests/doctor/test_clock.py::test_x", "tests/doctor/test_clock.py"),
        ("tests/browser/test_stats.py::test_x", "browser"),
        ("tests/end_to_end/test_cli.py::test_x[pgbouncer]", "pgbouncer"),
        ("tests/end_to_end/test_cli.py::test_x[direct-1]", "direct"),
        ("tests/end_to_end/test_trace.py::test_x", "tests/end_to_end/test_trace.py"),
    ],
)
def test_a_group_is_a_file_or_all_tests_of_a_server(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group


def test_a_group_runs_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    option = SimpleNamespace(loadscopereorder=True)
    config = SimpleNamespace(getvalue=lambda _: ["2*popen"], option=option)
    scheduling = GroupScheduling(config)
    workers = [Worker(), Worker()]
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, IDS)
    scheduling.schedule()
    assert sorted(chain(*(worker.given for worker in workers))) == sorted(IDS)
    first, second = ({*map(group_of, worker.given)} for worker in workers)
    assert first.isdisjoint(second)
    assert first
    assert second


def test_one_ceph_is_enough(request: pytest.FixtureRequest) -> None:
    marked = [item.nodeid for item in request.session.items if item.get_closest_marker("ceph")]
    astray = [nodeid for nodeid in marked if group_of(nodeid) != "ceph"]
    assert astray == [], "add their files to tests/scheduling.py: CEPH"
