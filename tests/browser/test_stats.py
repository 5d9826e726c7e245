"""The page of plots in a browser: readable for everybody, under its own policy."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from app.database.connections import Connection
from app.report.page import statistics_page
from app.statistics.duration_sketch import sketch_of
from app.statistics.queries import ExportCounts, Statistics
from devstack import tokens
from tests.browser.layout import OVERFLOW, OVERLAPS
from tests.browser.service import Records, Service
from tests.report.statistics import MADE_AT, no_statistics, some_statistics

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
    token = tokens.demo_tokens(service.settings)["SERVICE_TOKEN"]
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
    assert re.fullmatch(rf"{day}(, so far)?: \d+ failed", title), (
        "other tests' exports count as well"
    )
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


COLOURS = """() => {
    const style = (selector, pseudo) => getComputedStyle(document.querySelector(selector), pseudo);
    return {
        shapes: ["succeeded", "failed", "rest"].map((kind) => style(`rect.${kind}`).fill),
        keys: ["succeeded", "failed", "rest"].map(
            (kind) => style(`.key .${kind}`, "::before").backgroundColor),
        card: style("section").backgroundColor,
        text: style("svg text").fill,
    };
}"""


def one_length(seconds: float) -> Statistics:
    """Return statistics of exports that all took as long, so that the marks coincide."""
    durations = sketch_of([seconds] * 40)
    return replace(some_statistics(), processing=durations)


CASES = {
    "a month": some_statistics(30),
    "a year": some_statistics(365),
    "today": some_statistics(1),
    "one length": one_length(0.4),
    "nothing": no_statistics(),
    "millions": replace(
        some_statistics(7),
        total=ExportCounts(23_456_789, 20_000_000, 3_456_789, 0, 98_765_432_100, 10**15),
    ),
}


@pytest.fixture
async def blank(browser: Browser) -> AsyncIterator[Page]:
    """A page without a service."""
    page = await browser.new_page()
    yield page
    await page.close()


@pytest.mark.parametrize("width", [320, 768, 1280])
async def test_labels_lie_on_no_line_and_everything_fits(blank: Page, width: int) -> None:
    await blank.set_viewport_size({"width": width, "height": 640})
    for name, statistics in CASES.items():
        await blank.set_content(statistics_page(statistics, MADE_AT, is_served=True))
        await blank.locator("summary").click()
        assert await blank.evaluate(OVERLAPS) == [], name
        assert await blank.evaluate(OVERFLOW) == [], name
        assert await blank.evaluate("document.documentElement.scrollWidth") == width, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_forced_colours_tell_results_apart(
    blank: Page, scheme: Literal["light", "dark"]
) -> None:
    await blank.emulate_media(forced_colors="active", color_scheme=scheme)
    await blank.set_content(statistics_page(some_statistics(), MADE_AT, is_served=True))
    colours = await blank.evaluate(COLOURS)
    assert len({*colours["shapes"], colours["card"]}) == 4
    assert colours["keys"] == colours["shapes"]
    assert colours["text"] != colours["card"]
    results = await Axe().run(blank)
    assert results.violations_count == 0, results.generate_report()


async def test_a_browser_without_a_token_shows_a_page_that_says_what_to_do(
    browser: Browser, service: Service
) -> None:
    page = await browser.new_page(viewport={"width": 320, "height": 640})
    answer = await page.goto(f"{service.url}/stats")
    assert answer is not None
    assert answer.status == 401
    await expect(page.get_by_role("heading", name="operator's token")).to_be_visible()
    await expect(page.get_by_text(f"-o stats.html {service.url}/stats")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    await page.close()
