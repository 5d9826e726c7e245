"""The audit over HTTP: every step of an export leaves its entry."""

from uuid import UUID

import asyncpg
import pytest
from httpx import AsyncClient
from sqlalchemy import text

from app.resources import Resources
from tests.api.problem_documents import assert_problem
from tests.api.records import Records
from tests.tokens import bearer, mint, mint_for_service

SERVICE = bearer(mint_for_service())
SELLER = bearer(mint(sub="ann")) | {"User-Agent": "browser/9"}


async def actions(client: AsyncClient, export_id: UUID | str) -> list[tuple[str, str | None]]:
    answer = await client.get(f"/exports/{export_id}/audit", headers=SERVICE)
    assert answer.headers["cache-control"] == "no-store"
    return [(item["action"], item["actor"]) for item in reversed(answer.json()["items"])]


async def test_who_asked_opened_and_erased_is_known(
    anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    token = resources.links.token(export.key)
    await anonymous.get(f"/exports/{export.id}/download", headers=SELLER)
    await anonymous.get(f"/d/{token}", headers={"User-Agent": "mail/1"})
    await anonymous.post(f"/exports/{export.id}/email", headers=SELLER)
    await anonymous.delete(f"/exports/{export.id}", headers=SELLER)
    await anonymous.get(f"/d/{token}")
    assert await actions(anonymous, export.id) == [
        ("downloaded", "ann"),
        ("link_followed", None),
        ("resent", "ann"),
        ("erased", "ann"),
    ]


async def test_an_entry_says_from_where_and_with_what(anonymous: AsyncClient) -> None:
    created = await anonymous.post("/exports", json={"follower": True}, headers=SELLER)
    answer = await anonymous.get(f"/exports/{created.json()['id']}/audit", headers=SERVICE)
    [entry] = answer.json()["items"]
    assert (entry["client_address"], entry["user_agent"]) == ("127.0.0.1", "browser/9")
    assert entry["recipient_email"] == "seller1@example.com"
    assert entry["details"]["columns"] == ["email", "subscribed_at"]


async def test_a_repeated_key_is_the_same_request(anonymous: AsyncClient) -> None:
    headers = SELLER | {"Idempotency-Key": "once"}
    answers = [
        await anonymous.post("/exports", json={"follower": True}, headers=headers) for _ in "12"
    ]
    await anonymous.delete(f"/exports/{answers[0].json()['id']}", headers=SELLER)
    assert await actions(anonymous, answers[0].json()["id"]) == [
        ("requested", "ann"),
        ("cancelled", "ann"),
    ]


async def test_the_audit_comes_in_pages(anonymous: AsyncClient, records: Records) -> None:
    export = await records.add("succeeded")
    for _ in range(3):
        await anonymous.get(f"/exports/{export.id}/download", headers=SELLER)
    path = f"/exports/{export.id}/audit?limit=2"
    first = (await anonymous.get(path, headers=SERVICE)).json()
    last = (await anonymous.get(f"{path}&cursor={first['next_cursor']}", headers=SERVICE)).json()
    assert (len(first["items"]), len(last["items"]), last["next_cursor"]) == (2, 1, None)


async def test_nobody_is_led_to_a_file_without_an_entry(
    anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    token = resources.links.token(export.key)
    async with resources.database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE export_audit RENAME TO away"))
    for path in (f"/d/{token}", f"/exports/{export.id}/download"):
        with pytest.raises(asyncpg.UndefinedTableError):
            await anonymous.get(path, headers=SELLER)


async def test_an_export_that_never_was_is_not_found(anonymous: AsyncClient) -> None:
    path = "/exports/00000000-0000-7000-8000-000000000000/audit"
    assert_problem(await anonymous.get(path, headers=SERVICE), 404, "export_not_found")
