"""The demo page: a storefront with the dialog, and the mailbox beside it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from app.api.routers.demo import SELLER_ID
from app.database.connections import Connection
from tests.audience.storefront import Storefront
from tests.browser.dialog import Dialog
from tests.browser.service import Service

pytestmark = pytest.mark.browser


@pytest.fixture
async def page(browser: Browser, service: Service, storefront: Storefront) -> AsyncIterator[Page]:
    """The demo page of a seller with one follower; nothing is logged as an error."""
    await storefront.follow("ann@example.com", seller_id=SELLER_ID)
    page = await browser.new_page()
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(service.url)
    yield page
    await page.close()
    assert not errors


async def test_the_page_leads_from_the_button_to_the_mail_and_its_link(page: Page) -> None:
    dialog = Dialog(page)
    await dialog.start()
    await dialog.ready()
    _, from_dialog = await dialog.save()
    await dialog.close.click()
    mail = page.frame_locator("#mail")
    await expect(mail.get_by_role("heading")).to_have_text("Your audience export is ready")
    _, from_mail = await dialog.save(mail.get_by_role("link").first)
    assert from_mail == from_dialog


async def test_the_page_shows_the_newest_members_and_the_number_of_all(
    page: Page, storefront: Storefront, connection: Connection
) -> None:
    begun = datetime.now(UTC)
    names = [f"member{number}@example.com" for number in range(10)]
    for number, email in enumerate(names):
        await storefront.follow(email, created_at=begun + timedelta(minutes=number))
    await storefront.buy(names[-1], created_at=begun + timedelta(hours=1))
    await page.reload()
    rows = page.locator("#members tr")
    await expect(rows).to_have_count(8)
    await expect(rows.first.get_by_role("cell").last).to_have_text("Followers, Customers")
    shown = [await row.get_by_role("cell").first.inner_text() for row in await rows.all()]
    assert shown == names[:1:-1]
    sql = "SELECT count(*) FROM audience_members WHERE seller_id = $1"
    total = await connection.fetchval(sql, SELLER_ID)
    await expect(page.locator("#total")).to_contain_text(f"{total} in all")


async def test_the_page_breaks_no_rule_of_accessibility(page: Page) -> None:
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


async def test_the_page_fits_a_narrow_screen(page: Page) -> None:
    await page.set_viewport_size({"width": 320, "height": 600})
    assert await page.evaluate("document.documentElement.scrollWidth") <= 320
