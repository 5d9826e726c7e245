"""Firefox and WebKit: what is selected, sent and remembered."""

import json

import pytest

from tests.browser.conftest import Open
from tests.browser.engine_page import RUNNING, EnginePage, counts, items

pytestmark = pytest.mark.browser

FROM, UNTIL = (
    "#panel label:nth-child(1) > [type='date']",
    "#panel label:nth-child(2) > [type='date']",
)
CSV, EXCEL = (
    "#panel label:nth-child(1) > [type='radio']",
    "#panel label:nth-child(2) > [type='radio']",
)

REFUSE = """
    const [name, key] = arguments, answer = answers[name];
    answers[name] = ({ body }) => body.includes(key) ? [422, { errors: [{ field: key }] }] : answer;
"""


async def is_ticked(page: EnginePage, selector: str) -> bool:
    return bool(await page.get(f"root.querySelector({selector!r}).checked"))


async def test_an_option_is_part_of_the_selection(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    await page.click("#download")
    await page.wait_until_shown("#file")
    await page.click("#options")
    await page.click("[name='sources']")
    assert await page.actions() == ["download"]
    await page.click("#download")
    await page.wait_until_shown("#file")
    await page.click(EXCEL)
    assert await page.actions() == ["download"]


async def test_options_are_sent_with_the_language_and_the_time_zone(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    assert not await page.is_shown("#panel")
    await page.click("#options")
    assert await page.get("root.querySelector('#options').getAttribute('aria-expanded')") == "true"
    assert await is_ticked(page, CSV)
    await page.click(EXCEL)
    await page.fill(FROM, "2026-01-31")
    await page.answer({"GET /audience": counts(follower=2, affiliate=0) | {"total": 3}})
    await page.fill(UNTIL, "2026-02-28")
    await page.wait_for_text("#follower-count", "2")
    await page.click("[name='sources']")
    await page.click("[name='follower_since']")
    assert not await page.is_shown("[name='customer_since']")
    assert "One Excel file" in await page.text("#message")
    assert await page.violations() == []
    await page.click("#download")
    await page.wait_until_shown("#file")
    zone = await page.get("Intl.DateTimeFormat().resolvedOptions().timeZone")
    sent = {
        "joined_after": "2026-01-31",
        "joined_before": "2026-03-01",
        "locale": "en",
        "timezone": zone,
    }
    assert (await page.requests("GET /audience"))[-1]["query"] == sent
    [request] = await page.requests("POST /exports")
    assert json.loads(request["body"]) == sent | {
        "follower": True,
        "columns": ["email", "subscribed_at", "sources", "follower_since"],
        "format": "xlsx",
    }
    await page.tick("follower", "customer")
    assert await page.text("#reach") == "Up to 4 people"


async def test_a_period_that_ends_before_it_begins_is_not_sent(
    stubbed: Open,
) -> None:
    page = await stubbed()
    await page.open()
    await page.click("#options")
    assert await page.get(f'root.querySelector("{FROM}").type') == "date"
    await page.fill(FROM, "2026-02-02")
    await page.fill(UNTIL, "2026-02-01")
    await page.wait_for_text("#message", "the earlier one first")
    assert await page.get("root.querySelector('#download').disabled")
    await page.fill(UNTIL, "2026-02-02")
    assert not await page.get("root.querySelector('#download').disabled")


@pytest.mark.parametrize("key", ["timezone", "locale"])
async def test_a_tag_that_the_service_does_not_know_is_left_out(stubbed: Open, key: str) -> None:
    page = await stubbed()
    await page.open()
    await page.run(REFUSE, "POST /exports", key)
    await page.click("#download")
    await page.wait_until_shown("#file")
    first, second = [json.loads(each["body"]) for each in await page.requests("POST /exports")]
    assert key in first
    assert key not in second
    assert second == {name: value for name, value in first.items() if name != key}


async def test_the_last_choice_is_remembered_on_this_device(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    await page.click("#options")
    await page.click(EXCEL)
    await page.fill(FROM, "2026-02-02")
    await page.click("[name='sources']")
    page = await stubbed(keep=True)
    await page.open()
    assert await page.is_shown("#panel"), "a period that was chosen before is seen"
    assert await is_ticked(page, EXCEL)
    assert await page.get(f'root.querySelector("{FROM}").value') == "2026-02-02"
    assert await is_ticked(page, "[name='sources']")


@pytest.mark.parametrize(
    "script",
    [
        'localStorage["audience-export"] = \'{"columns": 7, "from": "soon"\'',
        'localStorage["audience-export"] = \'{"columns": 7, "from": "soon"}\'',
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('No') } })",
    ],
)
async def test_a_device_that_remembers_nothing_does_no_harm(stubbed: Open, script: str) -> None:
    page = await stubbed()
    await page.run(script)
    if "Error" not in script:
        page = await stubbed(keep=True)
    await page.open()
    await page.click("#options")
    await page.click("[name='sources']")
    await page.click("#download")
    await page.wait_until_shown("#file")


async def test_an_export_found_again_has_its_options_and_a_workbook_no_limit(
    stubbed: Open,
) -> None:
    page = await stubbed()
    found = RUNNING | {"sources": ["customer", "affiliate"], "columns": ["email", "sources"]}
    await page.answer({"GET /exports": items(found), "GET /exports/job-9": found})
    await page.open()
    await page.wait_for_text("#message", "Preparing Customers and Affiliates …")
    await page.click("#options")
    assert await is_ticked(page, "[name='sources']")
    assert not await is_ticked(page, "[name='customer_since']")
    assert await page.violations() == []
    await page.answer({"GET /audience": counts(follower=1_048_576), "GET /exports": items()})
    await page.click("#close")
    await page.open()
    await page.tick("follower")
    await page.wait_for_text("#warning", "1,048,575")
    await page.click(EXCEL)
    assert await page.text("#warning") == ""
