"""The mails as their readers see them: narrow, dark, without images, as text."""

from collections.abc import AsyncIterator, Awaitable, Callable
from email.message import EmailMessage
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from app.i18n.locales import LOCALES
from tests.exports.delivery.mails import LINK, failed_export, html_text, mail_of, ready_export

pytestmark = pytest.mark.browser

RULES = {
    "resultTypes": ["violations"],
    "rules": {name: {"enabled": False} for name in ("region", "landmark-one-main")},
}
"""All but those that the program around a mail has to keep."""

Show = Callable[..., Awaitable[Page]]


def mail(status: str = "succeeded", **columns: Any) -> EmailMessage:
    """Return the mail of an export."""
    export = ready_export(**columns) if status == "succeeded" else failed_export(**columns)
    return mail_of(export)


@pytest.fixture
async def show(browser: Browser) -> AsyncIterator[Show]:
    """Shows a mail's HTML as a mail program would: no scripts, no network."""
    contexts = []

    async def show(message: EmailMessage, **options: Any) -> Page:
        context = await browser.new_context(java_script_enabled=True, offline=True, **options)
        contexts.append(context)
        page = await context.new_page()
        await page.set_content(html_text(message))
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
        assert "url(" not in html_text(mail(status))


@pytest.mark.parametrize("locale", LOCALES)
async def test_mails_fit_a_narrow_screen_in_every_language(show: Show, locale: str) -> None:
    page = await show(
        mail(locale=locale, file_rows=2_000_000), viewport={"width": 320, "height": 600}
    )
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
    await expect(page.locator("html")).to_have_attribute("lang", locale)


async def test_the_card_and_the_button_have_frames_in_forced_colours(show: Show) -> None:
    page = await show(mail(), forced_colors="active")
    for selector in (".card", "a >> nth=0"):
        style = await page.locator(selector).evaluate("e => getComputedStyle(e).borderTopStyle")
        assert style == "solid"
