"""Browsers of the last four years: the newest features are taken away one by one."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.dialog import Dialog
from tests.browser.service import Service
from tests.browser.shop import Shop
from tests.browser.stub import StubbedService, job

pytestmark = pytest.mark.browser

CSS = {"light-dark": "light-dark(", "color-mix": "color-mix(", "dvh": "dvh"}

SCRIPTS = {
    "Object.hasOwn": "delete Object.hasOwn",
    "ARIA reflection": """
        for (const { prototype } of [Element, ElementInternals])
          for (const name of Object.getOwnPropertyNames(prototype))
            if (/^aria|^role$/.test(name)) delete prototype[name];
    """,
    "constructable sheets": """
        delete Document.prototype.adoptedStyleSheets;
        delete ShadowRoot.prototype.adoptedStyleSheets;
        delete CSSStyleSheet.prototype.replaceSync;
    """,
    "AbortSignal.any": "delete AbortSignal.any; delete AbortSignal.timeout",
    "user activation": "delete Navigator.prototype.userActivation",
}


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that allows style elements: the way where sheets cannot be constructed."""
    context = await browser.new_context(
        reduced_motion="reduce", bypass_csp=True, color_scheme="dark"
    )
    yield await context.new_page()
    await context.close()


async def works(page: Page, service: Service, shop: Shop) -> Dialog:
    """Go from the button to the file and check names and colours on the way."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    stub = StubbedService(page, service.url)
    stub.past = [job(1)]
    await stub.install()
    await page.goto(f"{shop.origin}/?seller=1&lang=en&dir=ltr")
    dialog = Dialog(page)
    await dialog.open()
    await expect(dialog.dialog).to_have_css("display", "flex")
    await expect(dialog.close).to_be_visible()
    await expect(dialog.past.get_by_role("button", name="Delete · Followers · ")).to_be_visible()
    await expect(dialog.download).to_have_css("background-color", re.compile(r"rgb\(\d"))
    await expect(dialog.dialog).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    await dialog.download.click()
    await expect(dialog.file).to_be_visible()
    assert not errors
    return dialog


@pytest.mark.parametrize("feature", CSS)
async def test_without_a_css_feature_it_is_seen(
    page: Page, service: Service, shop: Shop, feature: str
) -> None:
    async def take_away(route: Route) -> None:
        answer = await route.fetch()
        body = (await answer.text()).replace(CSS[feature], "x-" + CSS[feature])
        await route.fulfill(response=answer, body=body)

    await page.route("**/widget/*/styles.js", take_away)
    dialog = await works(page, service, shop)
    if feature == "light-dark":
        await expect(dialog.dialog).to_have_css("background-color", "rgb(255, 255, 255)")
        await expect(dialog.dialog).to_have_css("color", "rgb(22, 24, 29)")
        await expect(dialog.dialog).to_have_css("color-scheme", "light")


@pytest.mark.parametrize("feature", SCRIPTS)
async def test_without_a_feature_of_the_language_or_the_page_it_works(
    page: Page, service: Service, shop: Shop, feature: str
) -> None:
    await page.add_init_script(SCRIPTS[feature])
    await works(page, service, shop)


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("zh-TW", "Export"),
        ("zh-Hant", "Export"),
        ("zh-HK", "Export"),
        ("zh-Hans-HK", "导出"),
        ("zh", "导出"),
    ],
)
async def test_traditional_chinese_is_not_shown_as_simplified(
    page: Page, service: Service, shop: Shop, language: str, name: str
) -> None:
    await page.goto(f"{shop.origin}/?seller=1&lang={language}&dir=ltr")
    await expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
