"""The page of a mailed link that leads to no file: in the browser's language, with the way on."""

import re
from base64 import b64encode
from hashlib import sha256
from uuid import uuid4

import pytest
from httpx import AsyncClient, Response

from app.i18n.catalogue import text
from app.i18n.locales import LOCALES
from app.models import ExportKey
from app.resources import Resources
from tests.api.conftest import Start
from tests.api.records import Records
from tests.exports.delivery.mails import shown_text


async def opened(client: AsyncClient, path: str, language: str = "") -> Response:
    """Open an address as a browser does."""
    headers = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": language}
    return await client.get(path, headers=headers)


@pytest.mark.parametrize("locale", LOCALES)
async def test_the_page_is_in_the_browsers_language_and_says_the_way_on(
    anonymous: AsyncClient, records: Records, resources: Resources, locale: str
) -> None:
    export = await records.add("expired")
    link = f"/d/{resources.links.token(export.key)}"
    for path, status, kind in ((link, 410, "gone"), ("/d/tampered", 404, "unknown")):
        answer = await opened(anonymous, path, f"{locale},en;q=0.5")
        assert answer.status_code == status
        assert answer.headers["content-language"] == locale
        assert "Accept-Language" in answer.headers["vary"]
        assert f'<html lang="{locale}">' in answer.text
        shown = shown_text(answer.text).splitlines()
        assert text(locale, f"pages.{kind}.title") in shown
        assert text(locale, "pages.way_on") in shown
        assert "Audience Export" in shown


async def test_an_address_that_was_cut_or_prolonged_has_the_page_too(
    anonymous: AsyncClient,
) -> None:
    for path in ("/d/", "/d/one/two", "/d/%00"):
        answer = await opened(anonymous, path)
        assert (answer.status_code, answer.headers["content-type"]) == (
            404,
            "text/html; charset=utf-8",
        )


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("TEXT/HTML", "text/html; charset=utf-8"),
        ("application/json;q=0.5, text/html", "text/html; charset=utf-8"),
        ("application/problem+json, text/html;q=0.1", "application/problem+json"),
        ("text/html;q=0, */*", "application/problem+json"),
        ("*/*", "application/problem+json"),
    ],
)
async def test_a_program_that_prefers_json_gets_the_problem_document(
    anonymous: AsyncClient, accept: str, media_type: str
) -> None:
    answer = await anonymous.get("/d/tampered", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (404, media_type)


async def test_the_pages_policy_allows_its_own_style_and_nothing_else(
    anonymous: AsyncClient,
) -> None:
    answer = await opened(anonymous, "/d/tampered")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    own = b64encode(sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"style-src 'sha256-{own}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert answer.headers["cache-control"] == "no-store"


async def test_a_hostile_brand_is_shown_as_it_is(start: Start) -> None:
    async with start(brand_name="<b>Ann & Co</b>") as (client, _):
        answer = await opened(client, "/d/tampered")
    assert "<small>&lt;b&gt;Ann &amp; Co&lt;/b&gt;</small>" in answer.text


async def test_while_the_service_is_unavailable_the_page_says_to_come_back(start: Start) -> None:
    async with start(database_url="postgresql://127.0.0.1:9/none") as (client, resources):
        token = resources.links.token(ExportKey(1, uuid4()))
        answer = await opened(client, f"/d/{token}", "de")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert text("de", "pages.unavailable.title") in answer.text
    assert text("de", "pages.way_on") not in answer.text
