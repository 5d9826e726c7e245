"""Stopping, erasing and mailing again, over HTTP."""

from typing import Any

import pytest
from httpx import AsyncClient

from app.exports.object_keys import object_key
from app.models import Export
from app.resources import Resources
from tests.api.problem_documents import assert_problem
from tests.api.records import CSV, Records


async def add_with_file(records: Records, resources: Resources) -> Export:
    """Insert a succeeded export whose file is where its attempt put it."""
    export = await records.add("succeeded", attempt=1)
    key = object_key(resources.settings.s3_prefix, export.key.attempt(1), "csv")
    await resources.storage.put(key, CSV)
    await records.change(export, object_key=key)
    return export


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_an_active_export_is_cancelled_at_once(
    seller: AsyncClient, records: Records, status: str
) -> None:
    export = await records.add(status)
    answer = await seller.delete(f"/exports/{export.id}")
    assert answer.status_code == 200
    document = answer.json()
    assert document["status"] == "cancelled"
    assert document["finished_at"] is not None
    assert document["email"] is None
    assert_problem(await seller.get(f"/exports/{export.id}/download"), 409, "export_not_ready")


async def test_a_finished_export_loses_its_file_and_its_links_at_once(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await add_with_file(records, resources)
    link = f"/d/{resources.links.token(export.key)}"
    file = (await seller.get(link)).headers["location"]
    document = (await seller.delete(f"/exports/{export.id}")).json()
    assert document["status"] == "deleted"
    assert document["download_url"] is None
    assert document["email"] is None
    assert_problem(await seller.get(link), 410, "export_gone")
    assert_problem(await seller.get(f"/exports/{export.id}/download"), 410, "export_gone")
    async with AsyncClient() as browser:
        assert (await browser.get(file)).status_code in (403, 404)


async def test_the_mail_of_a_failed_export_is_sent_again(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("failed", email_status="failed")
    answer = await seller.post(f"/exports/{export.id}/email")
    assert answer.status_code == 202
    assert answer.json()["email"] == {"status": "pending", "sent_at": None}


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired", "deleted"])
async def test_an_export_that_has_ended_otherwise_stays_as_it_is(
    seller: AsyncClient, records: Records, status: str
) -> None:
    export = await records.add(status)
    answer = await seller.delete(f"/exports/{export.id}")
    assert (answer.status_code, answer.json()["status"]) == (200, status)


async def test_deleting_twice_is_deleting_once(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await add_with_file(records, resources)
    first = await seller.delete(f"/exports/{export.id}")
    second = await seller.delete(f"/exports/{export.id}")
    assert first.json() == second.json()


async def test_the_mail_is_sent_again_three_times_an_hour(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("succeeded", email_status="sent")
    for _ in range(3):
        answer = await seller.post(f"/exports/{export.id}/email")
        assert answer.status_code == 202
        assert answer.json()["email"] == {"status": "pending", "sent_at": None}
    refused = await seller.post(f"/exports/{export.id}/email")
    assert_problem(refused, 429, "quota_exceeded")
    assert 3500 < int(refused.headers["retry-after"]) <= 3600


@pytest.mark.parametrize("status", ["queued", "running", "cancelled", "expired", "deleted"])
async def test_there_is_no_mail_to_send_again_without_an_end_to_tell_of(
    seller: AsyncClient, records: Records, status: str
) -> None:
    export = await records.add(status)
    refused: Any = await seller.post(f"/exports/{export.id}/email")
    assert_problem(refused, 409, "export_not_ready")
