"""The page of plots in a browser: readable for everybody, under its own policy."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from app.database import Connection
from devstack import tokens
from tests.browser.service import Records, Service

pytestmark = pytest.mark.browser

SELLER = 77


@pytest.fixture
async def history(records: Records, connection: Connection) -> AsyncIterator[None]:
    """Exports of the last days: four a day, every fourth of which has failed."""
    now = datetime.now(UTC)
    for number in range(40):
        created_at = now - timedelta(days=number // 4, seconds=30)
        failed = number % 4 == 0
        await records.add(
            SELLER,
            "failed" if failed else "expired",
            created_at=created_at,
            due_at=created_at,
            started_at=created_at + timedelta(seconds=0.2),
            finished_at=created_at + timedelta(seconds=1 + number % 7),
            error_code="storage_refused" if failed else None,
            file_rows=None if failed else 1000,
            file_bytes=None if failed else 44_000,
        )
    yield
    await connection.execute("DELETE FROM exports WHERE seller_id = $1", SELLER)


@pytest.fixture
async def page(browser: Browser, service: Service, history: None) -> AsyncIterator[Page]:
    """A page whose every request carries the operator's token, as a proxy would add it."""
    token = tokens.of_demo(service.settings)["SERVICE_TOKEN"]
    context = await browser.new_context(
        extra_http_headers={"Authorization": f"Bearer {token}"}, base_url=service.url
    )
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert not complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_breaks_no_rule_of_accessibility(page: Page, scheme: str) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await page.goto("/stats?days=30")
    await page.get_by_text("All numbers of these days").first.click()
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


async def test_the_plots_show_what_happened(page: Page) -> None:
    await page.goto("/stats?days=30")
    plot = page.get_by_role("img", name="Exports a day")
    await expect(plot).to_be_visible()
    assert await plot.locator("rect.failed").count() == 10
    assert await plot.locator("rect.succeeded").count() >= 10
    today = plot.locator("rect.failed").last
    box = await today.bounding_box()
    assert box is not None
    assert box["height"] > 1
    title = await today.locator("title").text_content()
    assert title is not None
    day = f"{datetime.now(UTC) - timedelta(seconds=30):%-d %b}"
    assert re.fullmatch(rf"{day}: \d+ failed", title), "other tests' exports count as well"
    row = page.get_by_role("row", name=re.compile(r"storage_refused \d\d"))
    await expect(row).to_be_visible()
    await expect(page.get_by_role("img", name="How many exports took how long")).to_be_visible()


async def test_other_spans_are_a_click_away(page: Page) -> None:
    await page.goto("/stats?days=30")
    await page.get_by_role("link", name="7 days").click()
    await expect(page).to_have_url(re.compile(r"/stats\?days=7$"))
    await expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "page")
    plot = page.get_by_role("img", name="Exports a day")
    assert await plot.locator("rect.failed").count() == 7


@pytest.mark.parametrize("width", [320, 768])
async def test_the_page_fits_a_narrow_screen(page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 640})
    await page.goto("/stats?days=30")
    assert await page.evaluate("document.documentElement.scrollWidth") == width
