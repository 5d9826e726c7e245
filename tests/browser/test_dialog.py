"""The dialog itself: boxes, counts, focus, keyboard, the ways to close it."""

import asyncio
import json

import pytest
from playwright.async_api import Locator, Route, expect

from tests.browser.conftest import Visit
from tests.browser.dialog import NAMES, Dialog

pytestmark = pytest.mark.browser


async def focused(dialog: Dialog) -> str:
    """Return the accessible name, or the id, of what has the focus."""
    name: str = await dialog.page.evaluate(
        "(({ name, id, ariaLabel }) => name || id || ariaLabel)"
        "(document.activeElement.shadowRoot?.activeElement ?? document.activeElement)"
    )
    return name


async def test_followers_are_ticked_from_the_start_and_the_first_box_has_the_focus(
    visit: Visit,
) -> None:
    dialog = await visit()
    await dialog.open()
    await expect(dialog.box("follower")).to_be_checked()
    await expect(dialog.box("follower")).to_be_focused()
    await expect(dialog.box("customer")).not_to_be_checked()
    await expect(dialog.box("affiliate")).not_to_be_checked()
    await expect(dialog.download).to_be_enabled()


async def test_nothing_ticked_is_nothing_to_download(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    await dialog.box("follower").uncheck()
    await expect(dialog.download).to_be_disabled()
    await dialog.page.keyboard.press("Enter")
    await dialog.box("affiliate").check()
    await expect(dialog.download).to_be_enabled()
    await expect(dialog.past).to_have_count(0)


async def test_counts_stand_beside_the_boxes_and_the_title_adds_them_up(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    reach = dialog.page.locator("audience-export #reach")
    for key, count in (("follower", "3"), ("customer", "2"), ("affiliate", "1")):
        await expect(dialog.box(key)).to_have_accessible_description(count)
    for keys, text in (
        (("follower",), "3 people"),
        (("affiliate",), "1 person"),
        (("follower", "customer"), "Up to 5 people"),
        (("customer", "affiliate"), "Up to 3 people"),
        (tuple(NAMES), "5 people"),
        ((), ""),
    ):
        await dialog.tick(keys)
        await expect(reach).to_have_text(text)


async def test_a_new_source_has_a_box_without_a_change_of_ours(visit: Visit) -> None:
    dialog = await visit()
    asked: list[str | None] = []

    async def add_source(route: Route) -> None:
        answer = await route.fetch()
        document = await answer.json()
        document["sources"].append({"key": "waitlist", "label": "Waiting list", "count": 9})
        await route.fulfill(response=answer, json=document)

    async def note(route: Route) -> None:
        asked.append(route.request.post_data)
        await route.fallback()

    await dialog.page.route("**/audience*", add_source)
    await dialog.page.route("**/exports", note)
    await dialog.open()
    await dialog.tick([])
    await dialog.page.get_by_role("checkbox", name="Waiting list", exact=True).check()
    await dialog.download.click()
    await expect(dialog.status).to_contain_text("This field is unknown")
    [body] = [json.loads(each) for each in asked if each]
    assert body["waitlist"] is True


async def test_a_label_toggles_its_box(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    for part in ("Customers", "2"):
        before = await dialog.box("customer").is_checked()
        await dialog.dialog.get_by_text(part, exact=True).click()
        await expect(dialog.box("customer")).to_be_checked(checked=not before)


async def test_the_keyboard_is_enough(visit: Visit) -> None:
    dialog = await visit()
    press = dialog.page.keyboard.press
    await press("Tab")
    assert await focused(dialog) == "trigger"
    await press("Enter")
    await expect(dialog.box("follower")).to_be_focused()
    await press("Space")
    await press("Tab")
    await press("Space")
    await expect(dialog.box("customer")).to_be_checked()
    await press("Tab")
    await press("Tab")
    assert await focused(dialog) == "options"
    await press("Tab")
    assert await focused(dialog) == "download"
    await press("Enter")
    await dialog.ready()
    assert await focused(dialog) == "status"
    await press("Tab")
    await expect(dialog.file).to_be_focused()
    async with dialog.page.context.expect_event("download"):
        await press("Enter")
    await press("Escape")
    await expect(dialog.dialog).to_be_hidden()
    await expect(dialog.export).to_be_focused()


@pytest.mark.parametrize("hand", ["keyboard", "mouse"])
async def test_a_press_that_has_begun_counts_though_the_numbers_come_meanwhile(
    visit: Visit, hand: str
) -> None:
    dialog = await visit()
    page, box, may_answer = dialog.page, dialog.box("customer"), asyncio.Event()

    async def hold(route: Route) -> None:
        await may_answer.wait()
        await route.continue_()

    await page.route("**/audience*", hold)
    await dialog.export.click()
    await box.focus()
    if hand == "keyboard":
        await page.keyboard.down("Space")
    else:
        await box.hover()
        await page.mouse.down()
    may_answer.set()
    await expect(box).to_have_accessible_description("2")
    await (page.keyboard.up("Space") if hand == "keyboard" else page.mouse.up())
    await expect(box).to_be_checked()
    await expect(box).to_be_focused()


async def test_the_focus_stays_in_the_dialog(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    seen = set()
    for _ in range(12):
        await dialog.page.keyboard.press("Tab")
        seen.add(await focused(dialog))
    assert "trigger" not in seen
    assert {"follower", "customer", "affiliate", "download", "close"} <= seen


async def box_of(locator: Locator) -> tuple[float, float, float, float]:
    found = await locator.bounding_box()
    assert found is not None
    return found["x"], found["y"], found["width"], found["height"]


@pytest.mark.parametrize("way", ["escape", "button", "outside"])
async def test_it_closes_every_way_and_gives_the_focus_back(visit: Visit, way: str) -> None:
    dialog = await visit()
    await dialog.open()
    if way == "escape":
        await dialog.page.keyboard.press("Escape")
    elif way == "button":
        await dialog.close.click()
    else:
        await dialog.page.mouse.click(4, 4)
    await expect(dialog.dialog).to_be_hidden()
    await expect(dialog.export).to_be_focused()


async def test_selecting_text_to_the_outside_does_not_close_it(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    x, y, _, _ = await box_of(dialog.status)
    await dialog.page.mouse.move(x + 40, y + 4)
    await dialog.page.mouse.down()
    await dialog.page.mouse.move(4, 4)
    await dialog.page.mouse.up()
    await expect(dialog.dialog).to_be_visible()


async def test_boxes_keep_their_ticks_while_the_page_is_open(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    await dialog.tick(["customer"])
    await dialog.close.click()
    await dialog.open()
    await expect(dialog.box("customer")).to_be_checked()
    await expect(dialog.box("follower")).not_to_be_checked()
