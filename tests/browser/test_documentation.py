"""The API's documentation in a browser: Swagger UI under a strict policy, without the internet."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.service import Service

pytestmark = pytest.mark.browser


async def test_the_documentation_shows_every_operation(browser: Browser, service: Service) -> None:
    context = await browser.new_context(base_url=service.url)
    page = await context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    await page.goto("/docs")
    await expect(page.get_by_role("heading", name="Audience export")).to_be_visible()
    await page.locator("#operations-exports-create_export").get_by_role("button").first.click()
    await expect(page.get_by_text("Idempotency-Key").first).to_be_visible()
    await context.close()
    assert not complaints
    assert all(url.startswith((service.url, "data:")) for url in asked)
