"""The mails as their readers see them: narrow, dark, without images, as text."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from app.exports.message import export_message
from app.models import Export
from tests.adapters.settings import settings_with

pytestmark = pytest.mark.browser

LINK = f"https://exports.example.com/d/{'AAAAAAAAAAEBogRJcx5xqpXL7' * 3}"
NOW = datetime(2026, 11, 22, 13, 54, 5, tzinfo=UTC)

RULES = {
    "resultTypes": ["violations"],
    "rules": {name: {"enabled": False} for name in ("region", "landmark-one-main")},
}
"""All but those that the program around a mail has to keep."""

Show = Callable[..., Awaitable[Page]]


def mail(status: str = "succeeded", **columns: Any) -> EmailMessage:
    """Return the mail of an export."""
    succeeded = status == "succeeded"
    row: dict[str, Any] = {
        "seller_id": 1,
        "id": UUID("0198c0de-0000-7000-8000-000000000001"),
        "status": status,
        "sources": ["follower", "customer"],
        "columns": ["email"],
        "spreadsheet_safe": True,
        "bom": False,
        "recipient_email": "seller1@example.com",
        "created_at": NOW,
        "due_at": NOW,
        "attempt": 1,
        "failures": 0,
        "started_at": NOW,
        "snapshot_at": NOW,
        "rows_exported": 0,
        "rows_estimated": 0,
        "finished_at": NOW,
        "expires_at": NOW + timedelta(days=7),
        "object_key": "key",
        "file_name": "audience-1-2026-11-22.csv",
        "file_rows": 98_214,
        "file_bytes": 4_735_211,
        "error_code": None if succeeded else "storage_refused",
        "error_detail": None if succeeded else "The file storage denies this service access.",
        "email_status": "pending",
        "email_attempts": 0,
        "email_sequence": 0,
        "email_sent_at": None,
    }
    settings = settings_with()
    return export_message(Export(**(row | columns)), settings, LINK if succeeded else None)


def part(message: EmailMessage, kind: str) -> str:
    """Return the text or the HTML of a mail."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


@pytest.fixture
async def show(browser: Browser) -> AsyncIterator[Show]:
    """Shows a mail's HTML as a mail program would: no scripts, no network."""
    contexts = []

    async def show(message: EmailMessage, **options: Any) -> Page:
        context = await browser.new_context(java_script_enabled=True, offline=True, **options)
        contexts.append(context)
        page = await context.new_page()
        await page.set_content(part(message, "html"))
        return page

    yield show
    for context in contexts:
        await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("status", ["succeeded", "failed"])
async def test_mails_break_no_rule_of_accessibility(show: Show, status: str, scheme: str) -> None:
    page = await show(mail(status), color_scheme=scheme)
    results = await Axe().run(page, options=RULES)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("status", ["succeeded", "failed"])
async def test_mails_are_one_column_that_fits_a_narrow_screen(show: Show, status: str) -> None:
    page = await show(mail(status), viewport={"width": 320, "height": 600})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320


async def test_mails_turn_dark_where_their_reader_does(show: Show) -> None:
    for scheme, is_dark in (("light", False), ("dark", True)):
        page = await show(mail(), color_scheme=scheme)
        colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(colour.split("(")[1].split(",")[0])
        assert (red < 80) is is_dark


async def test_the_link_is_a_button_and_stands_there_to_copy(show: Show) -> None:
    page = await show(mail())
    links = page.get_by_role("link")
    await expect(links).to_have_count(2)
    for place in range(2):
        await expect(links.nth(place)).to_have_attribute("href", LINK)
    await expect(links.nth(1)).to_have_text(LINK)


async def test_mails_need_nothing_from_anywhere(show: Show) -> None:
    for status in ("succeeded", "failed"):
        page = await show(mail(status))
        outside = "document.querySelectorAll('img, link, script, iframe, [background]').length"
        assert await page.evaluate(outside) == 0
        assert "url(" not in part(mail(status), "html")


def test_the_text_says_what_the_html_says() -> None:
    text = part(mail(), "plain")
    lines = text.splitlines()
    assert LINK in lines
    assert "98,214 people (Followers, Customers)" in text
    assert "22 November 2026" in text
    assert "29 November 2026" in text
    assert "<" not in text
    failed = part(mail("failed"), "plain")
    assert "The file storage denies this service access." in failed
