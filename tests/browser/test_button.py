"""The button on the page, the ways into and out of the dialog, and where the focus goes."""

import re

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.browser.dialog import Dialog
from tests.browser.stub import StubbedService, job

pytestmark = pytest.mark.browser

FOCUS = (
    "(document.activeElement.shadowRoot?.activeElement ?? document.activeElement).id"
    " || document.activeElement.shadowRoot?.activeElement?.name"
)


async def test_a_double_click_opens_it_and_does_not_close_it(
    stub: StubbedService, dialog: Dialog
) -> None:
    await dialog.export.dblclick()
    await expect(dialog.box("follower")).to_have_accessible_description("3")
    await expect(dialog.dialog).to_be_visible()


async def test_a_double_click_on_download_cancels_nothing(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.started = job(1, "running")
    stub.answers["GET /exports/job-1"] = stub.started
    await dialog.open()
    await dialog.download.dblclick()
    await expect(dialog.status).to_contain_text("email a link to")
    assert stub.sent("DELETE /exports/job-1") == []
    assert len(stub.sent("POST /exports")) == 1


async def test_the_button_shows_progress_and_ready_after_the_dialog_is_closed(
    stub: StubbedService, dialog: Dialog
) -> None:
    running = job(1, "running", progress={"rows_exported": 46, "rows_estimated": 100})
    stub.started = running
    stub.answers["GET /exports/job-1"] = running
    await dialog.start()
    await expect(dialog.progress).to_have_attribute("aria-valuenow", "46")
    await dialog.close.click()
    badge = dialog.page.locator("audience-export #badge")
    await expect(badge).to_have_text("46%")
    await expect(dialog.export).to_have_accessible_description(re.compile("^Preparing Followers …"))
    results = await Axe().run(dialog.page)
    assert results.violations_count == 0, results.generate_report()
    stub.answers["GET /exports/job-1"] = job(1)
    await expect(dialog.export).to_have_accessible_description(
        re.compile("^Followers: the file is ready")
    )
    await expect(badge).to_be_visible()
    await expect(badge).to_have_text("")
    await dialog.open()
    await expect(dialog.file).to_be_visible()
    await expect(dialog.download).to_be_hidden()


async def test_a_quick_file_starts_by_itself_while_the_dialog_is_open(
    stub: StubbedService, dialog: Dialog
) -> None:
    await dialog.open()
    async with dialog.page.context.expect_event("download") as begun:
        await dialog.download.click()
    assert (await begun.value).suggested_filename == "a.csv"
    await expect(dialog.status).to_contain_text("The download has started.")
    _, content = await dialog.save()
    assert content == b"Email\n"


async def test_a_broken_link_never_replaces_the_page(stub: StubbedService, dialog: Dialog) -> None:
    await stub.page.context.route("https://files.example/9", lambda route: route.abort())
    address = dialog.page.url
    await dialog.open()
    async with dialog.page.context.expect_page() as opened:
        await dialog.download.click()
    await (await opened.value).close()
    await expect(dialog.file).to_be_visible()
    assert dialog.page.url == address
    await stub.page.context.unroute("https://files.example/9")


async def test_escape_answers_the_question_before_it_closes(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.past = [job(1)]
    await dialog.open()
    press = dialog.page.keyboard.press
    await dialog.past.get_by_role("button", name="Delete · Followers · Nov 22").click()
    await expect(dialog.past.get_by_role("button", name="Keep")).to_be_focused()
    await press("Escape")
    await expect(dialog.dialog).to_be_visible()
    await expect(dialog.past.get_by_role("button", name="Delete · ")).to_be_focused()
    await press("Escape")
    await expect(dialog.dialog).to_be_hidden()
    await expect(dialog.export).to_be_focused()


async def test_the_focus_never_falls_to_the_page(stub: StubbedService, dialog: Dialog) -> None:
    stub.past = [job(1)]
    stub.started = job(2, "running")
    stub.answers["GET /exports/job-2"] = stub.started
    page = dialog.page
    await dialog.open()
    assert await page.evaluate(FOCUS) == "follower"
    await dialog.download.focus()
    await page.keyboard.press("Enter")
    assert await page.evaluate(FOCUS) == "status"
    await dialog.cancel.focus()
    stub.answers["GET /exports/job-2"] = stub.answers["DELETE /exports/job-2"] = job(2, "cancelled")
    await page.keyboard.press("Enter")
    await expect(dialog.cancel).to_be_hidden()
    assert await page.evaluate(FOCUS) == "status"
    await dialog.past.get_by_role("button", name="Delete · ").click()
    stub.past = []
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(dialog.past).to_have_count(0)
    assert await page.evaluate(FOCUS) == "status"


async def test_only_lists_with_a_file_are_shown_and_at_first_three(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.newest = [job(1, "failed"), job(2, "cancelled"), job(3, "expired")]
    stub.past = [job(number) for number in range(1, 6)]
    await dialog.open()
    await expect(dialog.past).to_have_count(3)
    await dialog.show_all.click()
    await expect(dialog.past).to_have_count(5)


@pytest.mark.parametrize("size", [(1366, 625), (360, 560), (320, 256)])
async def test_the_actions_are_in_view_on_every_screen(
    stub: StubbedService, dialog: Dialog, size: tuple[int, int]
) -> None:
    stub.past = [job(number) for number in range(1, 6)]
    await dialog.page.set_viewport_size({"width": size[0], "height": size[1]})
    await dialog.open()
    await dialog.options.click()
    await dialog.show_all.click()
    await expect(dialog.past).to_have_count(5)
    bottom = await dialog.dialog.evaluate("dialog => dialog.getBoundingClientRect().bottom")
    assert bottom <= size[1]
    if size[1] > 420:
        await expect(dialog.download).to_be_in_viewport(ratio=1)
    else:
        await dialog.download.scroll_into_view_if_needed()
        await expect(dialog.download).to_be_in_viewport(ratio=1)
    lines = await dialog.past.first.locator("small").evaluate(
        "small => small.getClientRects()[0].height / parseFloat(getComputedStyle(small).lineHeight)"
    )
    assert lines < 2.1
    await dialog.page.set_viewport_size({"width": 1280, "height": 720})


async def test_without_the_dialogs_modules_the_button_says_so(
    stub: StubbedService, dialog: Dialog
) -> None:
    await stub.page.route("**/widget/*/app.js*", lambda route: route.abort())
    await dialog.page.reload()
    await dialog.export.click()
    notice = dialog.page.get_by_text("The service cannot be reached just now.")
    await expect(notice).to_be_visible()
    await stub.page.unroute("**/widget/*/app.js*")
    await dialog.open()
