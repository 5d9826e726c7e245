"""Downloads and mailed links: to the file, and only while there is one."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient

from app.exports.audit import list_entries
from app.exports.delivery.links import LinkSigner
from app.file_headers import XLSX_TYPE
from app.models import ExportKey
from app.resources import Resources
from tests.api.conftest import Start
from tests.api.problem_documents import assert_problem
from tests.api.records import CSV, Records

NOT_READY = ["queued", "running", "failed", "cancelled"]
GONE = ["expired", "deleted"]


def expires_s(url: str) -> int:
    match = re.search(r"X-Amz-Expires=(\d+)", url)
    assert match is not None
    return int(match[1])


async def test_a_download_leads_to_the_file_for_five_minutes(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("succeeded")
    answer = await seller.get(f"/exports/{export.id}/download")
    assert answer.status_code == 307
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert expires_s(answer.headers["location"]) == 300
    async with AsyncClient() as browser:
        file = await browser.get(answer.headers["location"])
    assert file.content == CSV
    assert 'attachment; filename="audience-1-2026-11-22.csv"' in file.headers["content-disposition"]


async def test_a_mailed_link_leads_to_the_file_as_often_as_it_is_opened(
    anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    token = resources.links.token(export.key)
    for _ in range(3):
        answer = await anonymous.get(f"/d/{token}")
        assert answer.status_code == 302
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert expires_s(answer.headers["location"]) <= 300


async def test_the_files_address_never_outlives_the_file(
    seller: AsyncClient, records: Records
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    export = await records.add("succeeded", expires_at=soon)
    answer = await seller.get(f"/exports/{export.id}/download")
    assert expires_s(answer.headers["location"]) <= 30


@pytest.mark.parametrize("status", NOT_READY)
async def test_an_export_without_a_file_is_a_conflict(
    seller: AsyncClient, records: Records, resources: Resources, status: str
) -> None:
    export = await records.add(status)
    token = resources.links.token(export.key)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        assert_problem(await seller.get(path), 409, "export_not_ready")


@pytest.mark.parametrize("status", GONE)
async def test_a_file_that_expired_or_was_erased_is_gone(
    seller: AsyncClient, records: Records, resources: Resources, status: str
) -> None:
    export = await records.add(status)
    token = resources.links.token(export.key)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        assert_problem(await seller.get(path), 410, "export_gone")


async def test_a_file_that_is_being_deleted_is_gone_although_the_store_has_it(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded", deletion_requested_at=datetime.now(UTC))
    token = resources.links.token(export.key)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        assert_problem(await seller.get(path), 410, "export_gone")
        assert (await seller.head(path)).status_code == 410
    document = (await seller.get(f"/exports/{export.id}")).json()
    assert (document["status"], document["download_url"]) == ("succeeded", None)


async def test_a_file_whose_time_is_over_is_gone_before_the_recovery_comes(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded", expires_at=datetime.now(UTC))
    token = resources.links.token(export.key)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        assert_problem(await seller.get(path), 410, "export_gone")
    assert (await seller.get(f"/exports/{export.id}")).json()["download_url"] is None


async def test_a_link_that_was_not_signed_by_us_is_not_found(
    anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    token = resources.links.token(export.key)
    forged = LinkSigner([b"x" * 32], "https://exports.example").token(export.key)
    last = "A" if token[-1] != "A" else "B"
    for other in (token[:-1] + last, token + "A", token[1:], forged, "x", "%00", "é", "A" * 9000):
        assert_problem(await anonymous.get(f"/d/{other}"), 404, "export_not_found")


async def test_a_link_whose_export_is_long_forgotten_is_gone(
    anonymous: AsyncClient, resources: Resources
) -> None:
    answer = await anonymous.get(f"/d/{resources.links.token(ExportKey(1, uuid4()))}")
    assert_problem(answer, 410, "export_gone")


async def test_the_seller_in_a_link_is_part_of_what_is_looked_up(
    anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    answer = await anonymous.get(f"/d/{resources.links.token(ExportKey(2, export.id))}")
    assert_problem(answer, 410, "export_gone")


async def test_without_a_public_address_no_link_is_one_of_ours(start: Start) -> None:
    async with start(public_url=None, link_secret=None) as (client, _):
        assert_problem(await client.get("/d/AAAA"), 404, "export_not_found")


async def test_openings_are_counted_in_the_export_and_head_is_none(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    path = f"/exports/{export.id}"
    link = f"/d/{resources.links.token(export.key)}"
    for opened in (f"{path}/download", link, link):
        await seller.head(opened)
        assert (await seller.get(opened)).status_code in (302, 307)
    downloads = (await seller.get(path)).json()["downloads"]
    entries = await list_entries(resources.database, export.id, limit=10, before=None)
    assert downloads["count"] == len(entries) == 3
    assert downloads["last_at"] is not None


async def test_head_says_what_the_file_is_and_is_no_opening(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    token = resources.links.token(export.key)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        answer = await seller.head(path)
        assert answer.status_code == 200
        assert "location" not in answer.headers
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert 'filename="audience-1-2026-11-22.csv"' in answer.headers["content-disposition"]
        assert answer.headers["content-length"] == str(export.file_bytes)
        assert answer.headers["cache-control"] == "no-store"
        assert not answer.content
    assert not await list_entries(resources.database, export.id, limit=10, before=None)


async def test_head_knows_a_workbook(seller: AsyncClient, records: Records) -> None:
    export = await records.add("succeeded", file_name="audience-1-2026-11-22.xlsx")
    answer = await seller.head(f"/exports/{export.id}/download")
    assert answer.headers["content-type"] == XLSX_TYPE
    assert 'filename="audience-1-2026-11-22.xlsx"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("state", "status"), [("queued", 409), ("failed", 409), ("expired", 410), ("deleted", 410)]
)
async def test_head_where_there_is_no_file_has_the_status_of_get(
    seller: AsyncClient, records: Records, resources: Resources, state: str, status: int
) -> None:
    export = await records.add(state)
    token = resources.links.token(export.key)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        answer = await seller.head(path)
        assert answer.status_code == status
        assert not answer.content
    assert (await seller.head("/d/x")).status_code == 404
    del seller.headers["authorization"]
    assert (await seller.head(f"/exports/{export.id}/download")).status_code == 401


async def test_a_browser_gets_a_page_about_what_became_of_the_file(
    anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("expired")
    link = f"/d/{resources.links.token(export.key)}"
    answer = await anonymous.get(link, headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 410
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "<h1>This list has expired or was deleted</h1>" in answer.text


async def test_a_program_gets_a_problem_document(seller: AsyncClient) -> None:
    html = {"Accept": "text/html"}
    assert_problem(await seller.get(f"/exports/{uuid4()}", headers=html), 404, "export_not_found")
    assert_problem(await seller.get("/d/x", headers={"Accept": "*/*"}), 404, "export_not_found")
