"""The audit over HTTP: every step of an export leaves its entry."""

from uuid import UUID

import pytest
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.database import transaction
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
    anyone: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded")
    token = opened.links.token(export.seller_id, export.id)
    await anyone.get(f"/exports/{export.id}/download", headers=SELLER)
    await anyone.get(f"/d/{token}", headers={"User-Agent": "mail/1"})
    await anyone.post(f"/exports/{export.id}/email", headers=SELLER)
    await anyone.delete(f"/exports/{export.id}", headers=SELLER)
    await anyone.get(f"/d/{token}")
    assert await actions(anyone, export.id) == [
        ("downloaded", "ann"),
        ("opened", None),
        ("resent", "ann"),
        ("erased", "ann"),
    ]


async def test_an_entry_says_from_where_and_with_what(anyone: AsyncClient) -> None:
    asked = await anyone.post("/exports", json={"follower": True}, headers=SELLER)
    answer = await anyone.get(f"/exports/{asked.json()['id']}/audit", headers=SERVICE)
    [entry] = answer.json()["items"]
    assert (entry["client_address"], entry["user_agent"]) == ("127.0.0.1", "browser/9")
    assert entry["recipient_email"] == "seller1@example.com"
    assert entry["details"]["columns"] == ["email", "subscribed_at"]


async def test_a_repeated_key_is_the_same_request(anyone: AsyncClient) -> None:
    headers = SELLER | {"Idempotency-Key": "once"}
    asked = [await anyone.post("/exports", json={"follower": True}, headers=headers) for _ in "12"]
    await anyone.delete(f"/exports/{asked[0].json()['id']}", headers=SELLER)
    assert await actions(anyone, asked[0].json()["id"]) == [
        ("requested", "ann"),
        ("cancelled", "ann"),
    ]


async def test_the_audit_comes_in_pages(anyone: AsyncClient, records: Records) -> None:
    export = await records.add("succeeded")
    for _ in range(3):
        await anyone.get(f"/exports/{export.id}/download", headers=SELLER)
    path = f"/exports/{export.id}/audit?limit=2"
    first = (await anyone.get(path, headers=SERVICE)).json()
    last = (await anyone.get(f"{path}&cursor={first['next_cursor']}", headers=SERVICE)).json()
    assert (len(first["items"]), len(last["items"]), last["next_cursor"]) == (2, 1, None)


async def test_nobody_is_led_to_a_file_without_an_entry(
    anyone: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded")
    token = opened.links.token(export.seller_id, export.id)
    async with transaction(opened.engine) as connection:
        await connection.execute(text("ALTER TABLE export_audit RENAME TO away"))
    for path in (f"/d/{token}", f"/exports/{export.id}/download"):
        with pytest.raises(DBAPIError):
            await anyone.get(path, headers=SELLER)


async def test_an_export_that_never_was_is_not_found(anyone: AsyncClient) -> None:
    path = "/exports/00000000-0000-7000-8000-000000000000/audit"
    assert_problem(await anyone.get(path, headers=SERVICE), 404, "export_not_found")
