"""The file, its progress and its errors belong to the selection that they were made of."""

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Request, expect

from tests.browser.dialog import Dialog
from tests.browser.stub import StubbedService, job

pytestmark = pytest.mark.browser


async def assert_accessible(dialog: Dialog) -> None:
    """Fail where axe-core finds a violation."""
    results = await Axe().run(dialog.page)
    assert results.violations_count == 0, results.generate_report()


async def test_a_file_is_offered_until_the_selection_changes(
    stub: StubbedService, dialog: Dialog
) -> None:
    await dialog.start()
    await expect(dialog.file).to_be_visible()
    await expect(dialog.download).to_be_hidden()
    await dialog.box("customer").check()
    await expect(dialog.file).to_be_hidden()
    await expect(dialog.download).to_be_enabled()
    await dialog.box("customer").uncheck()
    await expect(dialog.download).to_be_enabled()


async def test_an_option_is_part_of_the_selection(stub: StubbedService, dialog: Dialog) -> None:
    await dialog.start()
    await expect(dialog.file).to_be_visible()
    await dialog.options.click()
    await dialog.page.get_by_role("checkbox", name="Sources").check()
    await expect(dialog.file).to_be_hidden()
    await expect(dialog.download).to_be_enabled()


async def test_progress_is_shown_for_its_selection_only(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.started = job(1, "running", progress={"rows_exported": 1, "rows_estimated": 4})
    stub.answers["GET /exports/job-1"] = stub.started
    await dialog.start()
    await expect(dialog.progress).to_have_attribute("aria-valuenow", "25")
    stub.newest = [stub.started]
    await dialog.box("customer").check()
    await expect(dialog.progress).to_be_hidden()
    await expect(dialog.cancel).to_be_hidden()
    await expect(dialog.download).to_be_enabled()
    await dialog.box("customer").uncheck()
    await expect(dialog.progress).to_be_visible()
    await expect(dialog.download).to_be_hidden()


async def test_an_error_and_its_button_go_with_their_selection(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.answers["POST /exports"] = (503, {})
    await dialog.start()
    await expect(dialog.retry).to_be_visible()
    await expect(dialog.download).to_be_hidden()
    await dialog.box("customer").check()
    await expect(dialog.retry).to_be_hidden()
    await expect(dialog.download).to_be_enabled()


async def test_an_export_found_after_a_reload_is_named_and_its_boxes_are_ticked(
    stub: StubbedService, dialog: Dialog
) -> None:
    found = job(1, "running", sources=["customer", "affiliate"], columns=["email", "sources"])
    stub.newest = [found]
    stub.answers["GET /exports/job-1"] = found
    await dialog.open()
    await expect(dialog.status).to_contain_text("Preparing Customers and Affiliates …")
    await expect(dialog.box("customer")).to_be_checked()
    await expect(dialog.box("affiliate")).to_be_checked()
    await expect(dialog.box("follower")).not_to_be_checked()
    await dialog.options.click()
    await expect(dialog.page.get_by_role("checkbox", name="Sources")).to_be_checked()
    await assert_accessible(dialog)


async def test_options_are_sent_with_the_language_and_the_time_zone(
    stub: StubbedService, dialog: Dialog
) -> None:
    page = dialog.page
    await dialog.open()
    assert (await page.get_by_role("group", name="Format").count()) == 0
    await expect(dialog.options).to_have_attribute("aria-expanded", "false")
    await dialog.options.click()
    await expect(dialog.options).to_have_attribute("aria-expanded", "true")
    group = page.get_by_role("group", name="Format")
    await expect(group.get_by_role("radio", name="CSV")).to_be_checked()
    await group.get_by_role("radio", name="Excel").check()
    await page.get_by_label("Joined from").fill("2026-01-31")
    await page.get_by_label("Joined until").fill("2026-02-28")
    await page.get_by_role("checkbox", name="Sources").check()
    await page.get_by_role("checkbox", name="Follower since").check()
    await expect(page.get_by_role("checkbox", name="Customer since")).to_have_count(0)
    await assert_accessible(dialog)
    zone = await page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    period = {"joined_after": "2026-01-31", "joined_before": "2026-03-01"}
    tags = {"locale": "en", "timezone": zone}
    await expect(dialog.status).to_contain_text("One Excel file")
    await dialog.download.click()
    await expect(dialog.file).to_be_visible()
    assert stub.sent("GET /audience")[-1] == period | tags
    assert stub.sent("POST /exports") == [
        {
            "follower": True,
            "columns": ["email", "subscribed_at", "sources", "follower_since"],
            "format": "xlsx",
        }
        | period
        | tags
    ]


async def test_counts_follow_the_period(stub: StubbedService, dialog: Dialog) -> None:
    await dialog.open()
    stub.counts = {"follower": 2, "customer": 2, "affiliate": 0}
    stub.total = 3
    await dialog.options.click()
    await dialog.page.get_by_label("Joined from").fill("2026-01-31")
    await dialog.page.keyboard.press("Tab")
    await expect(dialog.box("follower")).to_have_accessible_description("2")
    await dialog.tick(["follower", "customer"])
    await expect(dialog.status).to_contain_text("Up to 4 people")


@pytest.mark.parametrize("key", ["timezone", "locale"])
async def test_a_tag_that_the_service_does_not_know_is_left_out(
    stub: StubbedService, dialog: Dialog, key: str
) -> None:
    def refuse(request: Request) -> object:
        return (422, {"errors": [{"field": key}]}) if key in (request.post_data or "") else job(9)

    stub.answers["POST /exports"] = refuse
    await dialog.start()
    await expect(dialog.file).to_be_visible()
    assert key not in stub.sent("POST /exports")[-1]


async def test_a_period_that_ends_before_it_begins_is_not_sent(
    stub: StubbedService, dialog: Dialog
) -> None:
    await dialog.open()
    await dialog.options.click()
    await dialog.page.get_by_label("Joined from").fill("2026-02-02")
    await dialog.page.get_by_label("Joined until").fill("2026-02-01")
    await dialog.page.keyboard.press("Tab")
    await expect(dialog.status).to_contain_text("the earlier one first")
    await expect(dialog.download).to_be_disabled()
    await dialog.page.get_by_label("Joined until").fill("2026-02-02")
    await expect(dialog.download).to_be_enabled()


async def test_the_last_choice_is_remembered_on_this_device(
    stub: StubbedService, dialog: Dialog
) -> None:
    page = dialog.page
    await dialog.open()
    await dialog.options.click()
    await page.get_by_role("radio", name="Excel").check()
    await page.get_by_label("Joined from").fill("2026-02-02")
    await page.get_by_role("checkbox", name="Sources").check()
    await page.reload()
    await dialog.open()
    await expect(dialog.options).to_have_attribute("aria-expanded", "true")
    await expect(page.get_by_role("radio", name="Excel")).to_be_checked()
    await expect(page.get_by_label("Joined from")).to_have_value("2026-02-02")
    await expect(page.get_by_role("checkbox", name="Sources")).to_be_checked()


@pytest.mark.parametrize(
    "script",
    [
        'localStorage[\'audience-export\'] = \'{"columns": 7, "from": "soon"\'',
        'localStorage[\'audience-export\'] = \'{"columns": 7, "from": "soon"}\'',
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('No') } })",
    ],
)
async def test_a_device_that_remembers_nothing_does_no_harm(
    stub: StubbedService, dialog: Dialog, script: str
) -> None:
    await dialog.page.evaluate(script)
    await dialog.open()
    await dialog.options.click()
    await dialog.page.get_by_role("checkbox", name="Sources").check()
    await dialog.download.click()
    await expect(dialog.file).to_be_visible()


async def test_an_empty_audience_has_nothing_to_export(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.counts = dict.fromkeys(stub.counts, 0)
    stub.total = 0
    await dialog.export.click()
    await expect(dialog.status).to_contain_text("nothing to export")
    await expect(dialog.download).to_be_disabled()
    await assert_accessible(dialog)


async def test_a_list_too_long_for_a_spreadsheet_is_told_of(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.counts = stub.counts | {"follower": 1_048_576}
    stub.total = 1_048_579
    await dialog.open()
    await expect(dialog.status).to_contain_text("only the first 1,048,575 rows")
    await dialog.options.click()
    await dialog.page.get_by_role("radio", name="Excel").check()
    await expect(dialog.status).not_to_contain_text("1,048,575")


async def test_addresses_that_mailing_tools_refuse_are_told_of(
    stub: StubbedService, dialog: Dialog
) -> None:
    file = {"name": "a.csv", "rows": 3, "bytes": 9}
    stub.started = job(9, file=file | {"warnings": [{"code": "addresses_refused", "count": 2}]})
    await dialog.start()
    await expect(dialog.status).to_contain_text("Mailing tools refuse 2 addresses.")
    await assert_accessible(dialog)
