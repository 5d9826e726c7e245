"""The element on somebody else's page: origins, texts, colours, events before and after."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visit
from tests.browser.service import Service
from tests.browser.shop import Shop

pytestmark = pytest.mark.browser

ELEMENT = "document.querySelector('audience-export')"


async def test_an_origin_that_the_service_does_not_know_gets_nothing(
    visit: Visit, shop: Shop
) -> None:
    dialog = await visit(origin=shop.other_origin)
    await dialog.export.click()
    await expect(dialog.status).to_contain_text("The service cannot be reached just now.")


async def test_the_page_may_change_any_text(visit: Visit) -> None:
    dialog = await visit()
    await dialog.page.evaluate(
        f"{ELEMENT}.messages = {{ export: 'Get my fans', follower: 'Fans', "
        "people: { one: '{n} fan', other: '{n} fans' } }"
    )
    await dialog.page.get_by_role("button", name="Get my fans").click()
    await expect(dialog.page.get_by_role("checkbox", name="Fans", exact=True)).to_be_checked()
    await expect(dialog.dialog).to_contain_text("3 fans")
    await expect(dialog.box("customer")).to_be_visible()
    await dialog.page.evaluate(f"{ELEMENT}.messages = {{}}")
    await expect(dialog.box("follower")).to_be_visible()


async def test_what_the_page_sets_before_the_module_arrives_counts(
    visit: Visit, shop: Shop
) -> None:
    dialog = await visit()
    await dialog.page.evaluate(
        """async (api) => {
            const late = document.createElement("audience-export");
            const early = document.querySelector("audience-export");
            const frame = document.implementation.createHTMLDocument();
            const raw = frame.createElement("audience-export");
            Object.assign(raw, { messages: { export: "Early" }, getToken: early.getToken });
            raw.setAttribute("api", api);
            early.replaceWith(raw);
        }""",
        shop.api_url,
    )
    await dialog.page.get_by_role("button", name="Early").click()
    await expect(dialog.box("customer")).to_have_accessible_description("2")


async def test_a_page_without_getToken_says_that_nobody_is_signed_in(  # noqa: N802
    visit: Visit,
) -> None:
    dialog = await visit()
    await dialog.page.evaluate(f"{ELEMENT}.getToken = undefined")
    await dialog.export.click()
    await expect(dialog.status).to_contain_text("The service cannot be reached just now.")


async def test_the_page_chooses_colours_and_shape(visit: Visit) -> None:
    dialog = await visit()
    await dialog.page.evaluate(
        """() => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(`audience-export {
                --audience-export-accent: rgb(1, 120, 80);
                --audience-export-background: rgb(250, 240, 230);
                --audience-export-radius: 0px;
                --audience-export-font: monospace;
            } audience-export::part(button) { border-color: rgb(200, 0, 0); }`);
            document.adoptedStyleSheets = [sheet];
        }"""
    )
    await dialog.open()
    await expect(dialog.download).to_have_css("background-color", "rgb(1, 120, 80)")
    await expect(dialog.dialog).to_have_css("background-color", "rgb(250, 240, 230)")
    await expect(dialog.dialog).to_have_css("border-radius", "0px")
    await expect(dialog.dialog).to_have_css("font-family", "monospace")
    await expect(dialog.export).to_have_css("border-color", "rgb(200, 0, 0)")


async def test_the_pages_own_style_stays_outside(visit: Visit) -> None:
    dialog = await visit()
    await dialog.page.evaluate(
        """() => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(`* { text-transform: uppercase; text-align: center; color: red }
                button, label, p { display: none !important }`);
            document.adoptedStyleSheets = [sheet];
        }"""
    )
    await dialog.open()
    await expect(dialog.dialog).to_have_css("text-transform", "none")
    await expect(dialog.dialog).to_have_css("text-align", "start")
    await expect(dialog.dialog).to_have_css("color", "rgb(22, 24, 29)")


async def test_an_element_taken_away_listens_no_more_until_it_is_back(
    visit: Visit, service: Service
) -> None:
    dialog = await visit()
    with service.frozen_worker():
        async with dialog.page.expect_request("**/events"):
            await dialog.start()
        async with dialog.page.expect_event("requestfailed") as ended:
            await dialog.page.evaluate(f"(window.taken = {ELEMENT}).remove()")
        assert (await ended.value).url.endswith("/events")
        await dialog.page.evaluate("document.body.append(taken)")
        await dialog.open()
        await expect(dialog.progress).to_be_visible()
    await dialog.ready()


async def test_the_api_is_where_the_module_came_from_unless_the_page_says_otherwise(
    visit: Visit,
) -> None:
    dialog = await visit()
    await dialog.page.evaluate(f"{ELEMENT}.removeAttribute('api')")
    await dialog.open()
    await expect(dialog.box("customer")).to_have_accessible_description("2")


async def test_a_page_in_dark_has_a_dark_dialog_and_one_in_light_a_light_one(
    visit: Visit,
) -> None:
    dark = await visit(color_scheme="dark")
    await dark.open()
    await expect(dark.dialog).to_have_css("background-color", "rgb(27, 29, 35)")
    await dark.page.evaluate("document.documentElement.style.colorScheme = 'light'")
    await expect(dark.dialog).to_have_css("background-color", "rgb(255, 255, 255)")


async def test_motion_is_reduced_where_it_is_not_wanted(visit: Visit) -> None:
    moving = await visit(reduced_motion="no-preference")
    still = await visit(reduced_motion="reduce")
    for dialog, name in ((moving, "rise"), (still, "none")):
        await dialog.open()
        await expect(dialog.dialog).to_have_css("animation-name", name)
