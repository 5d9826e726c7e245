"""Firefox and WebKit: tokens, boxes, focus, the ways to close, and the list of past exports."""

import json
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.engine_page import RUNNING, EnginePage, counts, items
from tests.browser.engines import DOWN, UP, Engine, mouse, strike, to
from tests.browser.stub import job

pytestmark = pytest.mark.browser

REFUSE_EARLIER_TOKENS = """
    const [name] = arguments, answer = answers[name], { token } = window;
    answers[name] = ({ headers }) =>
      headers.Authorization === `Bearer ${token}` ? answer : [401, {}];
"""


async def test_each_opening_asks_for_a_token_and_shows_nothing_before(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"GET /exports?past": items(job(5))})
    await page.run(
        "window.calls = 0; element.getToken = async () => { window.calls += 1; return token; }"
    )
    await page.open()
    await page.click("#download")
    await page.wait_until_shown("#file")
    await page.wait_until_shown("#list > li")
    assert await page.get("window.calls") == 1
    await page.click("#close")
    await page.run(
        "const { token } = window;"
        "window.token = new Promise((give) => { window.give = () => give(token); })"
    )
    await page.click("#trigger")
    await page.wait_until_shown("#dialog")
    assert await page.actions() == ["download"]
    assert not await page.is_shown("#list > li")
    assert await page.text("#follower-count") == ""
    await page.run("window.give()")
    await page.wait_for_text("#follower-count", "3")
    assert await page.actions() == ["file"]
    assert await page.is_shown("#list > li")
    assert await page.get("window.calls") == 2


async def test_an_answer_to_the_old_account_is_not_shown_to_the_new_one(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    await page.hold()
    await page.click("#download")
    await page.wait_until_shown("#cancel")
    await page.sign_in(2)
    await page.run("element.getToken = async () => token")
    await page.wait_until_hidden("#cancel")
    await page.answer({"GET /audience": counts(follower=22)})
    await page.release()
    await page.wait_for_text("#follower-count", "22")
    assert await page.actions() == ["download"]
    assert await page.told() == []


async def test_an_expired_token_is_asked_for_again_and_no_token_is_said(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"GET /audience": [401, {}]})
    await page.click("#trigger")
    await page.wait_for_text("#message", "You are not signed in")
    await page.answer({"GET /audience": counts()})
    await page.click("#retry")
    await page.wait_for_text("#follower-count", "3")
    assert await page.actions() == ["download"]
    await page.run(
        "window.fresh = []; element.getToken = async ({ isFresh }) => {"
        " window.fresh.push(isFresh); return window.token; }"
    )
    await page.wait_for_text("#follower-count", "3")
    await page.sign_in(1)
    await page.run(REFUSE_EARLIER_TOKENS, "POST /exports")
    await page.click("#download")
    await page.wait_until_shown("#file")
    assert await page.get("window.fresh") == [False, True]
    assert len(await page.requests("POST /exports")) == 2


async def test_boxes_counts_and_title_belong_together(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"GET /audience": counts() | {"total": 5}})
    await page.open()
    assert await page.ticked() == ["follower"]
    assert [await page.text(f"#{key}-count") for key in ("follower", "customer", "affiliate")] == [
        "3",
        "2",
        "1",
    ]
    for keys, text in (
        (["follower"], "3 people"),
        (["affiliate"], "1 person"),
        (["follower", "customer"], "Up to 5 people"),
        (["customer", "affiliate"], "Up to 3 people"),
        (["follower", "customer", "affiliate"], "5 people"),
        ([], ""),
    ):
        await page.tick(*keys)
        assert await page.text("#reach") == text
    await page.press("Enter")
    assert await page.requests("POST /exports") == []
    for part in ("name", "count"):
        await page.click(f"#customer-{part}")
        assert await page.ticked() == (["customer"] if part == "name" else [])
    await page.tick("customer")
    await page.click("#close")
    await page.open()
    assert await page.ticked() == ["customer"], "kept while the page is open"


async def test_a_new_source_has_a_box_without_a_change_of_ours(stubbed: Open) -> None:
    page = await stubbed()
    waitlist = {"key": "waitlist", "label": "Waiting list", "count": 9}
    audience = counts()
    answer = {"sources": [*audience["sources"], waitlist], "total": 15}
    refusal = [422, {"detail": "This field is unknown"}]
    await page.answer({"GET /audience": answer, "POST /exports": refusal})
    await page.open()
    assert await page.text("#waitlist-name") == "Waiting list"
    await page.tick("waitlist")
    await page.click("#download")
    await page.wait_for_text("#message", "This field is unknown")
    [request] = await page.requests("POST /exports")
    assert json.loads(request["body"])["waitlist"] is True


@pytest.mark.parametrize("hand", ["keyboard", "mouse"])
async def test_a_press_that_has_begun_counts_though_the_numbers_come_meanwhile(
    stubbed: Open, engine: Engine, hand: str
) -> None:
    page = await stubbed()
    await page.hold()
    await page.click("#trigger")
    box = await page.element("[name='customer']")
    if hand == "keyboard":
        await page.run("arguments[0].focus()", box)
        await strike(engine, ("keyDown", "Space"))
    else:
        await mouse(engine, to(0, 0, box), DOWN)
    await page.release()
    await page.wait_for_text("#customer-count", "2")
    await (strike(engine, ("keyUp", "Space")) if hand == "keyboard" else mouse(engine, UP))
    assert await page.ticked() == ["follower", "customer"]
    assert await page.focused() == "customer"


async def test_it_closes_by_a_press_outside_but_not_by_a_selection_that_ends_there(
    stubbed: Open, engine: Engine
) -> None:
    page = await stubbed()
    await page.open()
    status = await page.element("#message")
    await mouse(engine, to(0, 0, status), DOWN, to(4, 4), UP)
    assert await page.is_shown("#dialog")
    await mouse(engine, to(4, 4), DOWN, UP)
    await page.wait_until_hidden("#dialog")
    assert await page.focused() == "trigger"


async def tabs(page: EnginePage, times: int) -> list[str]:
    """Press Tab, and return what had the focus after each press."""
    seen = []
    for _ in range(times):
        await page.press("Tab")
        seen.append(await page.focused())
    return seen


async def test_the_focus_stays_in_the_dialog_and_goes_to_the_status(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer(
        {
            "GET /exports?past": items(job(5)),
            "POST /exports": [202, RUNNING],
            "GET /exports/job-9": RUNNING,
            "DELETE /exports/job-9": job(9, "cancelled"),
            "DELETE /exports/job-5": job(5, "deleted"),
        }
    )
    await page.open()
    await page.press("Shift+Tab")
    assert await page.focused() == "close"
    assert await tabs(page, 7) == [
        "follower",
        "customer",
        "affiliate",
        "options",
        "getjob-5",
        "deletejob-5",
        "download",
    ]
    await page.press("Enter")
    await page.wait_for_text("#message", "email a link to")
    assert await page.focused() == "status"
    await page.run("root.querySelector('#cancel').focus()")
    await page.answer({"GET /exports/job-9": job(9, "cancelled")})
    await page.press("Enter")
    await page.wait_until_hidden("#cancel")
    assert await page.focused() == "status"
    await page.click("[data-of='deletejob-5']")
    assert await page.focused() == "keepjob-5"
    await page.answer({"GET /exports?past": items()})
    await page.press("Shift+Tab", "Enter")
    await page.wait_until_hidden("#list > li")
    assert await page.focused() == "status"
    # Firefox goes from the last part to its own buttons.
    assert "trigger" not in await tabs(page, 8)


async def test_an_error_is_never_empty(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    for status in (400, 403, 404, 409, 422, 500, 503):
        await page.answer({"POST /exports": [status, {}]})
        [action] = await page.actions()
        await page.click(f"#{action}")
        await page.wait_until_shown("#retry")
        assert await page.text("#message")
        assert await page.get("root.querySelector('#status').className") == "failed"
    assert len(await page.requests("POST /exports")) == 7


async def test_an_export_that_is_still_being_sent_can_be_cancelled(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    await page.hold()
    await page.click("#download")
    await page.run("root.querySelector('#cancel').focus()")
    await page.press("Enter")
    await page.wait_for_text("#message", "Cancelling …")
    assert await page.get("root.querySelector('#cancel').disabled")
    await page.answer(
        {
            "POST /exports": [202, RUNNING],
            "GET /exports/job-9": job(9, "cancelled"),
            "DELETE /exports/job-9": RUNNING,
        }
    )
    await page.release()
    await page.wait_for_text("#message", "Cancelled")
    assert await page.actions() == ["download"]
    assert len(await page.requests("DELETE /exports/job-9")) == 1
    assert await page.told() == [["started", "running"], ["cancelled", "cancelled"]]


async def test_progress_shows_no_number_that_it_does_not_know(stubbed: Open) -> None:
    page = await stubbed()
    value = "root.querySelector('#bar').getAttribute('aria-valuenow')"

    async def progress(exported: int) -> None:
        found = job(9, "running", progress={"rows_exported": exported, "rows_estimated": 100})
        await page.answer({"POST /exports": [202, found], "GET /exports/job-9": found})

    await progress(0)
    await page.open()
    await page.click("#download")
    await page.wait_until_shown("#bar")
    assert await page.get(value) is None
    for unknown in (100, 900):
        await progress(40)
        await page.wait_for(f"{value} === '40'")
        await progress(unknown)
        await page.wait_for(f"{value} === null")
    assert await page.text("#percent") == ""


async def test_the_list_is_kept_up_to_date_and_stays_under_the_pointer(stubbed: Open) -> None:
    page = await stubbed()
    await page.hurry()
    other = job(8, "running", sources=["customer"])
    await page.answer(
        {
            "GET /exports": items(RUNNING, other),
            "GET /exports?past": items(job(5)),
            "POST /exports": [202, RUNNING],
            "GET /exports/job-9": RUNNING,
        }
    )
    await page.open()
    await page.wait_for_text("#list", "In progress")
    assert await page.is_shown("[data-of='canceljob-8']")
    await page.run(
        "window.pointed = ['get', 'delete'].map((of) => root.querySelector(`[data-of=${of}job-5]`))"
    )
    link = "root.querySelector('[data-of=getjob-5]').href"
    signed = "https://files.example/5?signed=2"
    half = job(9, "running", progress={"rows_exported": 1, "rows_estimated": 2})
    await page.answer(
        {
            "GET /exports?past": items(job(5, download_url=signed, downloads=1)),
            "GET /exports/job-9": half,
        }
    )
    await page.wait_for(f"{link} === '{signed}'")
    await page.wait_for("root.querySelector('#bar').getAttribute('aria-valuenow') === '50'")
    assert await page.get("window.pointed.every(({ isConnected }) => isConnected)")
    done: dict[str, Any] = job(8, sources=["customer"])
    await page.answer({"GET /exports": items(half), "GET /exports?past": items(done, job(5))})
    await page.wait_until_shown("[data-of='getjob-8']")
    assert "In progress" not in await page.text("#list")


async def past(page: EnginePage) -> None:
    """Open the dialog with a file that was made before, and make another."""
    await page.answer({"GET /exports?past": items(job(5)), "GET /exports/job-5": job(5)})
    await page.open()
    await page.click("#download")
    await page.wait_until_shown("#file")
    await page.run("saved.length = 0")


async def test_past_files_are_downloaded_from_the_list_until_they_are_deleted(
    stubbed: Open,
) -> None:
    page = await stubbed()
    await past(page)
    assert "3 people · 0.1 kB" in await page.text("#list > li")
    await page.click("[data-of='getjob-5']")
    await page.wait_for("saved.length === 1")
    assert await page.get("saved") == [["https://files.example/5", "_blank"]]
    await page.click("[data-of='deletejob-5']")
    assert "Delete this file?" in await page.text("#list > li")
    await page.click("[data-of='keepjob-5']")
    assert await page.focused() == "deletejob-5"
    assert "3 people" in await page.text("#list > li")
    gone = {"GET /exports/job-9": job(9, "deleted"), "GET /exports?past": items()}
    await page.answer(gone)
    await page.click("#file")
    await page.wait_for_text("#message", "Deleted")
    assert await page.actions() == ["download"]
    await page.wait_until_hidden("#list > li")
    assert len(await page.get("saved")) == 1, "a file deleted elsewhere is not downloaded"


async def test_addresses_that_mailing_tools_refuse_are_said(stubbed: Open) -> None:
    page = await stubbed()
    warnings = [{"code": "addresses_refused", "count": 2}]
    file = {"name": "a.csv", "rows": 3, "bytes": 9, "warnings": warnings}
    await page.answer({"POST /exports": [202, job(9, file=file)]})
    await page.open()
    await page.click("#download")
    await page.wait_for_text("#warning", "Mailing tools refuse 2 addresses.")
    assert await page.violations() == []
