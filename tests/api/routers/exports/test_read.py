"""`GET /exports/{id}`: the file, the mail, the error, and waiting for the end."""

import asyncio
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient

from app.checksums import Crc32c
from app.exports.audit import list_entries
from app.models import STATUSES
from app.resources import Resources
from tests.api.conftest import Start
from tests.api.export_documents import INSTANT
from tests.api.problem_documents import assert_problem, faulty_fields
from tests.api.records import CSV, Records
from tests.tokens import bearer, mint


async def test_a_finished_export_has_its_file_and_its_mail(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    answer = await seller.get(f"/exports/{export.id}")
    document = answer.json()
    assert answer.status_code == 200
    assert "retry-after" not in answer.headers
    assert document["file"] == {
        "name": "audience-1-2026-11-22.csv",
        "rows": 1,
        "bytes": 20,
        "checksum": Crc32c.of(CSV).label,
        "warnings": [],
    }
    assert document["email"] == {"status": "pending", "sent_at": None}
    assert document["download_url"] == resources.links.url(export)
    assert INSTANT.fullmatch(document["expires_at"])


async def test_an_error_is_reported_once_an_export_has_failed_and_not_before(
    seller: AsyncClient, records: Records
) -> None:
    why = {"error_code": "storage_unavailable", "error_detail": "The store is unavailable."}
    failed = await records.add("failed", **why)
    trying = await records.add("queued", **why)
    error = (await seller.get(f"/exports/{failed.id}")).json()["error"]
    assert error == {"code": "storage_unavailable", "detail": "The store is unavailable."}
    assert (await seller.get(f"/exports/{trying.id}")).json()["error"] is None


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "succeeded"])
async def test_only_an_export_that_succeeded_has_an_address_to_download(
    seller: AsyncClient, records: Records, status: str
) -> None:
    export = await records.add(status)
    assert (await seller.get(f"/exports/{export.id}")).json()["download_url"] is None


async def test_without_a_public_address_the_file_is_presigned_again_each_time(
    start: Start,
) -> None:
    async with start(public_url=None) as (client, resources):
        export = await Records(resources).add("succeeded")
        client.headers.update(bearer(mint()))
        answer = await client.get(f"/exports/{export.id}")
        url = answer.json()["download_url"]
        assert "X-Amz-Expires=300" in url
        async with AsyncClient() as browser:
            assert (await browser.get(url)).text.startswith("Email")


async def test_each_address_of_the_store_that_leaves_has_its_audit_entry(start: Start) -> None:
    async with start(public_url=None) as (client, resources):
        export = await Records(resources).add("succeeded")
        client.headers.update(bearer(mint()))
        answer = await client.get(f"/exports/{export.id}")
        await client.get("/exports")
        async with client.stream("GET", f"/exports/{export.id}/events") as events:
            await events.aread()
        tag = {"If-None-Match": answer.headers["etag"]}
        assert (await client.get(f"/exports/{export.id}", headers=tag)).status_code == 304
        entries = await list_entries(resources.database, export.id, limit=10, before=None)
    assert [entry.action for entry in entries] == ["url_issued"] * 3
    assert {entry.details["lifetime_s"] for entry in entries} == {300}
    assert all(entry.actor for entry in entries)


async def test_a_link_of_ours_is_audited_when_it_is_opened(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    await seller.get(f"/exports/{export.id}")
    assert not await list_entries(resources.database, export.id, limit=10, before=None)


async def test_an_unchanged_export_is_not_sent_again(seller: AsyncClient, records: Records) -> None:
    export = await records.add("succeeded")
    path = f"/exports/{export.id}"
    tag = (await seller.get(path)).headers["etag"]
    for value in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
        answer = await seller.get(path, headers={"If-None-Match": value})
        assert answer.status_code == 304
        assert answer.headers["etag"] == tag
        assert not answer.content
    await records.change(export, email_status="sent")
    answer = await seller.get(path, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag


async def test_waiting_ends_as_soon_as_the_export_has_ended(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("running")
    waiting = asyncio.create_task(seller.get(f"/exports/{export.id}", params={"wait": 30}))
    await asyncio.sleep(0)
    assert not waiting.done()
    await records.change(export, status="failed")
    answer = await asyncio.wait_for(waiting, 10)
    assert answer.json()["status"] == "failed"


async def test_waiting_ends_with_its_time(seller: AsyncClient, records: Records) -> None:
    export = await records.add("running")
    answer = await seller.get(f"/exports/{export.id}", params={"wait": 0.2})
    assert answer.json()["status"] == "running"
    assert answer.headers["retry-after"] == "1"


async def test_waiting_is_for_up_to_thirty_seconds(seller: AsyncClient, records: Records) -> None:
    export = await records.add()
    for wait in ["-1", "31", "soon", "nan", "inf", ""]:
        answer = await seller.get(f"/exports/{export.id}", params={"wait": wait})
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == ["wait"]


async def test_what_is_no_export_and_what_is_anothers_look_the_same(
    seller: AsyncClient, records: Records
) -> None:
    other = await records.add(seller_id=2)
    seller.headers["X-Request-ID"] = "the-same"
    names = (other.id, uuid4(), "nonsense", other.id.hex, f"{{{uuid4()}}}", "%00", "1" * 5000)
    answers = [
        await seller.get(f"/exports/{name}{suffix}")
        for name in names
        for suffix in ("", "/download")
    ]
    assert_problem(answers[0], 404, "export_not_found")
    assert {(answer.content, str(answer.headers)) for answer in answers} == {
        (answers[0].content, str(answers[0].headers))
    }


async def test_a_service_reads_every_sellers_exports(
    service: AsyncClient, records: Records
) -> None:
    export = await records.add(seller_id=2)
    assert (await service.get(f"/exports/{export.id}")).status_code == 200


@pytest.mark.parametrize(
    ("wait", "status"), [("0.5e-3", 404), ("1E-2", 404), ("0_1", 422), ("nan", 422), ("+0", 422)]
)
async def test_seconds_are_numbers_as_json_writes_them(
    seller: AsyncClient, wait: str, status: int
) -> None:
    answer = await seller.get(f"/exports/{UUID(int=7)}", params={"wait": wait})
    assert answer.status_code == status
