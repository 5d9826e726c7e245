"""GET /stats: the contract's names, true numbers, and nobody else's eyes."""

from datetime import UTC, datetime, timedelta

import pytest
from httpx import AsyncClient

from app.report.page import POLICY
from tests.api.problem_documents import assert_problem
from tests.api.records import Records
from tests.tokens import bearer, mint, mint_for_service

NAMES = [
    *("days", "requested", "succeeded", "failed", "cancelled", "failure_rate"),
    *("processing_s", "queue_s", "rows", "bytes", "per_day", "by_sources", "top_sellers"),
    "errors",
]


async def test_the_statistics_have_the_contracts_names_and_add_up(
    service: AsyncClient, records: Records
) -> None:
    now = datetime.now(UTC)
    times = {
        "created_at": now - timedelta(seconds=9),
        "due_at": now - timedelta(seconds=3),
        "started_at": now - timedelta(seconds=2),
        "finished_at": now,
    }
    for status in ("succeeded", "deleted", "expired"):
        await records.add(status, **times)
    await records.add("failed", seller_id=2, error_code="storage_refused")
    await records.add("cancelled")
    await records.add("queued")
    found = (await service.get("/stats?days=2")).json()
    assert list(found) == NAMES
    assert {name: found[name] for name in NAMES[:6]} == {
        "days": 2,
        "requested": 6,
        "succeeded": 3,
        "failed": 1,
        "cancelled": 1,
        "failure_rate": 0.25,
    }
    assert found["processing_s"] == pytest.approx({"mean": 2, "p50": 2, "p95": 2}, rel=0.01)
    assert found["queue_s"] == pytest.approx({"mean": 1, "p50": 1, "p95": 1}, rel=0.01)
    assert (found["rows"], found["bytes"]) == (3, 60)
    yesterday, today = found["per_day"]
    assert today["day"] > yesterday["day"]
    assert (today["requested"], today["succeeded"], today["failed"]) == (6, 3, 1)
    assert (yesterday["requested"], yesterday["processing_s"]["p50"]) == (0, None)
    assert found["errors"] == [{"code": "storage_refused", "exports": 1}]
    assert [(s["seller_id"], s["requested"]) for s in found["top_sellers"]] == [(1, 5), (2, 1)]
    (sources,) = found["by_sources"]
    assert (sources["sources"], sources["requested"]) == (["follower"], 6)


async def test_thirty_days_are_reported_where_none_are_requested(service: AsyncClient) -> None:
    found = (await service.get("/stats")).json()
    assert (found["days"], len(found["per_day"])) == (30, 30)
    assert (found["failure_rate"], found["processing_s"]["mean"]) == (0, None)


@pytest.mark.parametrize("days", ["0", "-1", "3651", "1.5", "x", ""])
async def test_days_are_one_to_ten_years(service: AsyncClient, days: str) -> None:
    assert_problem(await service.get(f"/stats?days={days}"), 422, "request_invalid")


@pytest.mark.parametrize("days", [1, 3650])
async def test_the_shortest_and_the_longest_span_are_answered(
    service: AsyncClient, days: int
) -> None:
    assert len((await service.get(f"/stats?days={days}")).json()["per_day"]) == days


async def test_sellers_all_is_all_that_is_needed_and_no_sellers_token_has_it(
    anonymous: AsyncClient,
) -> None:
    operator = bearer(mint_for_service(scope="sellers:all"))
    assert (await anonymous.get("/stats", headers=operator)).status_code == 200
    greedy = bearer(mint(scope="exports:read exports:write sellers:all"))
    answer = await anonymous.get("/stats", headers=greedy)
    assert_problem(answer, 403, "scope_missing")
    assert 'scope="sellers:all"' in answer.headers["www-authenticate"]


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

ACCEPTED = {
    BROWSER: "text/html",
    "text/html": "text/html",
    "TEXT/HTML;q=0.5": "text/html",
    "*/*": "application/json",
    "": "application/json",
    "application/json": "application/json",
    "application/json, text/html;q=0.9": "application/json",
    "text/html;q=0, */*": "application/json",
    "text/html;q=x": "application/json",
}


@pytest.mark.parametrize("accept", ACCEPTED)
async def test_who_wants_html_gets_the_page_and_programs_get_json(
    service: AsyncClient, accept: str
) -> None:
    answer = await service.get("/stats", headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == ACCEPTED[accept]
    assert "Accept" in answer.headers["vary"].split(", ")
    assert answer.headers["cache-control"] == "no-store"


async def test_a_browser_without_an_operators_token_is_told_what_to_do(
    anonymous: AsyncClient,
) -> None:
    page = {"Accept": BROWSER}
    expired = bearer(mint_for_service(exp=1))
    for token, status, detail in (
        ({}, 401, "Send one Authorization header: Bearer and a token."),
        (expired, 401, "expired"),
        (bearer(mint()), 403, "sellers:all"),
    ):
        answer = await anonymous.get("/stats?days=7", headers=page | token)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["cache-control"] == "no-store"
        assert "Accept" in answer.headers["vary"].split(", ")
        assert "script-src" not in answer.headers["content-security-policy"]
        assert detail in answer.text
        assert "audience-export stats --html stats.html" in answer.text
        assert f"-o stats.html {anonymous.base_url}/stats</code>" in answer.text


async def test_a_link_writes_no_part_of_the_command_that_the_page_shows(
    anonymous: AsyncClient,
) -> None:
    """An operator copies it into a shell."""
    host = {"Host": "shop.example", "Accept": BROWSER}
    answer = await anonymous.get("/stats?days=1%0Arm&x=';rm;<script>", headers=host)
    assert "rm" not in answer.text.partition("stats.html http")[2].partition("</code>")[0]
    assert "<script" not in answer.text


async def test_a_program_without_an_operators_token_gets_a_problem(
    anonymous: AsyncClient,
) -> None:
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.9"):
        page = {"Accept": accept}
        assert_problem(await anonymous.get("/stats", headers=page), 401, "token_invalid")
        answer = await anonymous.get("/stats", headers=page | bearer(mint()))
        assert_problem(answer, 403, "scope_missing")


async def test_the_page_has_a_policy_of_its_own(anonymous: AsyncClient) -> None:
    page = {"Accept": "text/html"}
    answer = await anonymous.get("/stats", headers=page | bearer(mint_for_service()))
    assert answer.headers["content-security-policy"] == POLICY
    assert "script-src" not in POLICY
