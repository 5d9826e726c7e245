"""Firefox and WebKit: the page of statistics."""

from pathlib import Path

import pytest

from app.report.page import statistics_page
from app.statistics.queries import Statistics
from tests.browser.engines import Engine
from tests.browser.layout import OVERFLOW, OVERLAPS
from tests.browser.service import Service
from tests.browser.shop import ADDED
from tests.browser.test_stats import CASES
from tests.polling import until
from tests.report.statistics import MADE_AT, some_statistics

pytestmark = pytest.mark.browser

OPEN = "document.querySelector('summary').click()"

AXE = """
    const script = document.createElement("script");
    script.textContent = arguments[0];
    document.head.append(script);
    axe.run().then(({ violations }) => { window.found = violations.map(({ id }) => id); });
"""


def page_of(statistics: Statistics, folder: Path) -> Path:
    """Write the page of these statistics, and return its file."""
    file = folder / "stats.html"
    file.write_text(statistics_page(statistics, MADE_AT, is_served=True))
    return file


async def test_the_statistics_are_drawn_as_elsewhere(engine: Engine, tmp_path: Path) -> None:
    await engine.goto(page_of(some_statistics(), tmp_path).as_uri())
    fills = "[...new Set([...document.querySelectorAll('.plot rect')].map((rect) => "
    fills = f"return {fills}getComputedStyle(rect).fill))]"
    assert {"rgb(53, 99, 217)", "rgb(207, 74, 28)"} <= set(await engine.script(fills))
    bars = "[...document.querySelectorAll('rect.failed:has(title)')]"
    heights = f"return {bars}.map((bar) => bar.getBoundingClientRect().height)"
    assert max(await engine.script(heights)) > 1
    assert "failed" in await engine.script(f"return {bars}[0].textContent")
    await engine.script(OPEN)
    await engine.script(AXE, ADDED["axe"])

    async def is_checked() -> bool:
        return await engine.script("return Boolean(window.found)") is True

    await until(is_checked)
    assert await engine.script("return window.found") == []


@pytest.mark.parametrize("width", [320, 768, 1280])
async def test_labels_lie_on_no_line_and_everything_fits(
    engine: Engine, tmp_path: Path, width: int
) -> None:
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe src="stats.html" width="{width}" height="9999" frameborder="0">')
    for name, statistics in CASES.items():
        page_of(statistics, tmp_path)
        await engine.goto(frame.as_uri())
        await engine.enter_frame()
        await engine.script(OPEN)
        assert await engine.script(f"return ({OVERLAPS})()") == [], name
        assert await engine.script(f"return ({OVERFLOW})()") == [], name
        assert await engine.script("return document.documentElement.scrollWidth") == width, name


async def test_a_browser_without_a_token_shows_a_page_that_says_what_to_do(
    engine: Engine, service: Service
) -> None:
    await engine.goto(f"{service.url}/stats")
    text = await engine.script("return document.body.innerText")
    assert "operator's token" in text
    assert f"-o stats.html {service.url}/stats" in text
    assert await engine.script("return document.documentElement.scrollWidth <= innerWidth")
