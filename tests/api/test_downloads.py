"""Downloads and mailed links: to the file, and only while there is one."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient

from app.exports.links import Links
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
    anyone: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded")
    token = opened.links.token(export.seller_id, export.id)
    for _ in range(3):
        answer = await anyone.get(f"/d/{token}")
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
    seller: AsyncClient, records: Records, opened: Resources, status: str
) -> None:
    export = await records.add(status)
    token = opened.links.token(export.seller_id, export.id)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        assert_problem(await seller.get(path), 409, "export_not_ready")


@pytest.mark.parametrize("status", GONE)
async def test_a_file_that_expired_or_was_erased_is_gone(
    seller: AsyncClient, records: Records, opened: Resources, status: str
) -> None:
    export = await records.add(status)
    token = opened.links.token(export.seller_id, export.id)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        assert_problem(await seller.get(path), 410, "export_gone")


async def test_a_file_whose_time_is_over_is_gone_before_the_sweep_comes(
    seller: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded", expires_at=datetime.now(UTC))
    token = opened.links.token(export.seller_id, export.id)
    for path in (f"/exports/{export.id}/download", f"/d/{token}"):
        assert_problem(await seller.get(path), 410, "export_gone")
    assert (await seller.get(f"/exports/{export.id}")).json()["download_url"] is None


async def test_a_link_that_was_not_signed_by_us_is_not_found(
    anyone: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded")
    token = opened.links.token(export.seller_id, export.id)
    forged = Links([b"x" * 32], "https://exports.example").token(export.seller_id, export.id)
    last = "A" if token[-1] != "A" else "B"
    for other in (token[:-1] + last, token + "A", token[1:], forged, "x", "%00", "é", "A" * 9000):
        assert_problem(await anyone.get(f"/d/{other}"), 404, "export_not_found")


async def test_a_link_whose_export_is_long_forgotten_is_gone(
    anyone: AsyncClient, opened: Resources
) -> None:
    answer = await anyone.get(f"/d/{opened.links.token(1, uuid4())}")
    assert_problem(answer, 410, "export_gone")


async def test_the_seller_in_a_link_is_part_of_what_is_looked_up(
    anyone: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded")
    answer = await anyone.get(f"/d/{opened.links.token(2, export.id)}")
    assert_problem(answer, 410, "export_gone")


async def test_without_a_public_address_no_link_is_one_of_ours(start: Start) -> None:
    async with start(public_url=None, link_secret=None) as (client, _):
        assert_problem(await client.get("/d/AAAA"), 404, "export_not_found")


async def test_whoever_looks_before_opening_gets_the_same_answer_without_a_body(
    seller: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded")
    token = opened.links.token(export.seller_id, export.id)
    for path, status in ((f"/exports/{export.id}/download", 307), (f"/d/{token}", 302)):
        answer = await seller.head(path)
        assert answer.status_code == status
        assert answer.headers["location"]
        assert not answer.content
    refused = await seller.head("/d/x")
    assert refused.status_code == 404
    assert not refused.content


async def test_people_are_told_on_a_page_what_became_of_their_file(
    anyone: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("expired")
    link = f"/d/{opened.links.token(export.seller_id, export.id)}"
    answer = await anyone.get(link, headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 410
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "<p>The file has expired or was erased.</p>" in answer.text


async def test_programs_are_told_in_a_problem_document(seller: AsyncClient) -> None:
    html = {"Accept": "text/html"}
    assert_problem(await seller.get(f"/exports/{uuid4()}", headers=html), 404, "export_not_found")
    assert_problem(await seller.get("/d/x", headers={"Accept": "*/*"}), 404, "export_not_found")
