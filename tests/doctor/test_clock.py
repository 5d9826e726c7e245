"""Clocks that differ, as the store's Date and the database tell."""

from urllib.parse import urlsplit

import pytest

from app.doctor import clock
from app.doctor.clock import FAILURE_S, evaluate
from app.doctor.findings import Status
from devstack.s3 import Store
from tests.doctor.installation import Installation, failed, found, warned
from tests.proxy import Answer, open_proxy


@pytest.mark.parametrize(
    ("theirs", "status", "word"),
    [
        (1000, Status.OK, "agrees"),
        (1006, Status.OK, "agrees"),
        (995, Status.WARNING, "5 s ahead of"),
        (1010, Status.WARNING, "5 s behind"),
        (1000 - FAILURE_S - 1, Status.FAILURE, "ahead of"),
        (1005 + FAILURE_S + 1, Status.FAILURE, "behind"),
    ],
)
def test_time_on_the_way_is_no_difference(theirs: float, status: Status, word: str) -> None:
    finding = evaluate("clock", "the store's", theirs, queried_at=1000, answered_at=1005)
    assert finding.status is status
    assert word in finding.detail


async def test_a_store_in_another_year_is_named_and_nothing_else(
    installation: Installation, moto_store: Store
) -> None:
    old = b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2015 09:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    async with open_proxy("127.0.0.1", urlsplit(moto_store.endpoint_url).port or 0) as proxy:
        proxy.fault(Answer(raw=old), on=rb"^HEAD / ", times=None)
        installation.change(S3_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
        findings = await installation.run_checks()
    assert failed(findings) == ["clock.store"]
    assert "ahead of" in found(findings, "clock.store").detail


async def test_a_store_without_a_clock_is_warned_of(
    installation: Installation, moto_store: Store
) -> None:
    async with open_proxy("127.0.0.1", urlsplit(moto_store.endpoint_url).port or 0) as proxy:
        proxy.fault(Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), on=rb"^HEAD / ")
        installation.change(S3_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")
        assert warned(await installation.run_checks(clock.CHECK)) == ["clock.store"]


async def test_the_databases_clock_is_asked_too(installation: Installation) -> None:
    assert found(await installation.run_checks(), "clock.database").status is Status.OK
