"""The dialog in Firefox and in WebKit: its way to the file, and each fault that networks bring."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.browser.conftest import Open
from tests.browser.engine_page import RUNNING, UNREACHABLE, USUAL, EnginePage, counts, items
from tests.browser.engines import Engine
from tests.browser.layout import OUTSIDE
from tests.browser.stub import job

pytestmark = pytest.mark.browser


@pytest.fixture
async def page(served: Open) -> EnginePage:
    """The storefront's page, with the dialog open and counted by the service."""
    page = await served("&axe=1")
    await page.open()
    await page.wait_for_text("#follower-count", "3")
    return page


async def test_the_way_from_the_button_to_the_file(page: EnginePage) -> None:
    assert await page.focused() == "follower"
    assert await page.violations() == []
    await page.click("#download")
    await page.wait_until_shown("#file")
    assert not await page.is_shown("#download")
    assert (await page.get("root.querySelector('#file').innerText")).startswith("Download file")
    assert await page.violations() == []
    await page.click("[name='customer']")
    assert await page.actions() == ["download"]
    await page.wait_for("root.querySelectorAll('#list > li').length === 1")
    await page.click("#close")
    assert not await page.is_shown("#dialog")
    assert await page.focused() == "trigger"


async def test_options_are_named_and_seen(page: EnginePage) -> None:
    assert await page.get("root.querySelector('#options').getAttribute('aria-expanded')") == "false"
    await page.click("#options")
    assert await page.is_shown("[type='date']")
    await page.click("[name='sources']")
    assert await page.violations() == []
    await page.click("#download")
    await page.wait_until_shown("#file")


async def test_it_is_styled_as_elsewhere(page: EnginePage) -> None:
    style = "getComputedStyle(root.querySelector('{}')).{}"
    assert await page.get(style.format("dialog", "backgroundColor")) == "rgb(255, 255, 255)"
    assert await page.get(style.format("#download", "backgroundColor")) == "rgb(29, 78, 216)"
    for part in ("dialog", "#actions"):
        where = f"root.querySelector('{part}').getBoundingClientRect()"
        assert await page.get(f"{where}.bottom <= innerHeight")
    assert await page.engine.script("return violations") == []


async def test_file_progress_and_errors_belong_to_their_selection(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    for answers, action in (
        ({}, "file"),
        ({"POST /exports": [503, {}]}, "retry"),
        ({"POST /exports": [202, RUNNING], "GET /exports/job-9": RUNNING}, "cancel"),
    ):
        await page.answer(answers)
        await page.click("#download")
        await page.wait_until_shown(f"#{action}")
        assert await page.actions() == [action]
        await page.click("[name='customer']")
        assert await page.actions() == ["download"]
        assert not await page.is_shown("#bar")
        await page.click("[name='customer']")
    assert await page.actions() == ["cancel"]
    assert await page.is_shown("#bar")


async def test_an_export_in_progress_is_named_and_its_boxes_are_ticked(stubbed: Open) -> None:
    page = await stubbed()
    found = RUNNING | {"sources": ["customer", "affiliate"], "columns": ["email", "sources"]}
    await page.answer({"GET /exports": items(found), "GET /exports/job-9": found})
    await page.open()
    await page.wait_for_text("#message", "Preparing Customers and Affiliates …")
    assert await page.ticked() == ["customer", "affiliate"]
    assert await page.get("root.querySelector('#bar').getAttribute('aria-valuenow')") == "46"


@pytest.mark.parametrize("way", ["another token", "another function", "reset"])
async def test_nothing_of_one_account_is_shown_to_another(stubbed: Open, way: str) -> None:
    page = await stubbed()
    await page.answer({"GET /exports?past": items(job(5))})
    await page.open()
    await page.click("#download")
    await page.wait_until_shown("#file")
    await page.wait_until_shown("#list > li")
    await page.click("#close")
    if way == "another function":
        await page.run("element.getToken = async () => token")
    elif way == "reset":
        await page.run("element.reset()")
    if way != "another token":
        assert not await page.is_shown("#badge")
    await page.sign_in(2)
    await page.answer(
        {"GET /audience": counts(follower=22), "GET /exports": None, "GET /exports?past": None}
    )
    await page.click("#trigger")
    await page.wait_for_text("#follower-count", "22")
    assert await page.actions() == ["download"]
    assert not await page.is_shown("#list > li")
    (*_, last) = await page.requests("GET /audience")
    assert last["headers"]["Authorization"] == f"Bearer {await page.get('token')}"


async def test_a_request_that_is_never_answered_ends(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    await page.answer({"POST /exports": None})
    await page.hurry()
    await page.click("#download")
    await page.wait_for_text("#message", UNREACHABLE)
    await page.answer({"POST /exports": [202, RUNNING], "GET /exports/job-9": None})
    await page.click("#retry")
    first, second = await page.requests("POST /exports")
    assert first["headers"]["Idempotency-Key"] == second["headers"]["Idempotency-Key"]
    await page.wait_for_text("#message", "Connection lost")
    await page.answer({"GET /exports/job-9": job(9)})
    await page.wait_until_shown("#file")


async def test_a_token_that_never_comes_ends(stubbed: Open) -> None:
    page = await stubbed()
    await page.run("element.getToken = () => new Promise(() => {})")
    await page.hurry()
    await page.click("#trigger")
    await page.wait_for_text("#message", UNREACHABLE)


async def test_it_comes_back_by_itself_when_the_service_does(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"GET /audience": [503, {}]})
    await page.click("#trigger")
    await page.wait_for_text("#message", f"{UNREACHABLE} Trying again …")
    assert await page.violations() == []
    await page.hurry()
    await page.answer({"GET /audience": counts()})
    await page.wait_for_text("#follower-count", "3")
    assert await page.actions() == ["download"]


async def test_a_quota_says_which_and_until_when(stubbed: Open) -> None:
    page = await stubbed()
    await page.open()
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=330), usegmt=True)
    hour = {"limit": "exports_per_hour", "maximum": 20}
    for problem, later, text in (
        (hour, "330", "You have made 20 exports within an hour"),
        (hour, date, "You have made 20 exports within an hour"),
        ({"limit": "active_exports", "maximum": 5}, "3", "You have 5 exports in progress"),
        ({}, "soon", "That is too many exports at once"),
    ):
        await page.answer({"POST /exports": [429, problem, {"Retry-After": later}]})
        await page.click("#download" if await page.is_shown("#download") else "#retry")
        await page.wait_for_text("#message", text)
        if problem == hour:
            assert "in 6 minutes (" in await page.text("#message")
    await page.answer({"POST /exports": [500, {}]})
    await page.click("#retry")
    await page.wait_for_text("#message", UNREACHABLE)


async def test_one_action_is_offered_and_a_quick_file_starts_by_itself(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"POST /exports": [202, RUNNING], "GET /exports/job-9": RUNNING})
    await page.double_click("#trigger")
    await page.wait_for_text("#follower-count", "3")
    assert await page.actions() == ["download"]
    await page.double_click("#download")
    await page.wait_for_text("#message", "email a link to")
    assert await page.actions() == ["cancel"]
    assert await page.requests("DELETE /exports/job-9") == []
    assert await page.violations() == []
    await page.answer({"DELETE /exports/job-9": [503, {}]})
    await page.click("#cancel")
    await page.wait_for_text("#message", UNREACHABLE)
    await page.answer({"DELETE /exports/job-9": RUNNING})
    await page.click("#cancel")
    await page.wait_for_text("#message", "Cancelling …")
    await page.answer({"GET /exports/job-9": job(9, "cancelled")})
    await page.wait_for_text("#message", "Cancelled")
    assert await page.actions() == ["download"]
    assert await page.get("saved") == []
    await page.answer(USUAL)
    await page.click("#download")
    await page.wait_for_text("#message", "The download has started.")
    assert await page.actions() == ["file"]
    link = ["https://files.example/9", "_blank"]
    assert await page.get("saved") == [link], "in a new tab: no error replaces the page"
    await page.click("#file")
    await page.wait_for("saved.length === 2")


async def test_the_button_remembers_after_the_dialog_is_closed(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"POST /exports": [202, RUNNING], "GET /exports/job-9": RUNNING})
    await page.open()
    await page.click("#download")
    await page.wait_until_shown("#bar")
    await page.click("#close")
    assert await page.text("#badge") == "46%"
    assert (await page.text("#notice")).startswith("Preparing Followers …")
    assert await page.violations() == []
    await page.answer({"GET /exports/job-9": job(9)})
    await page.wait_for_text("#notice", "Followers: the file is ready")
    assert await page.text("#badge") == ""
    await page.click("#trigger")
    await page.wait_until_shown("#file")
    assert await page.actions() == ["file"]


async def test_the_keyboard_is_enough_and_the_focus_never_falls_to_the_page(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"GET /exports?past": items(job(5))})
    await page.run("root.querySelector('#trigger').focus()")
    await page.press("Enter")
    await page.wait_for_text("#follower-count", "3")
    assert await page.focused() == "follower"
    await page.press("Tab", "Space", "Tab", "Tab")
    assert await page.focused() == "options"
    assert await page.get("root.querySelector('[name=customer]').checked")
    await page.press("Tab", "Tab", "Enter")
    assert await page.focused() == "keepjob-5"
    await page.press("Escape")
    assert await page.is_shown("#dialog"), "Escape answers the question"
    assert await page.focused() == "deletejob-5"
    await page.press("Tab", "Enter")
    await page.wait_until_shown("#file")
    assert await page.focused() == "status"
    await page.press("Tab")
    assert await page.focused() == "file"
    await page.press("Escape")
    await page.wait_until_hidden("#dialog")
    assert await page.focused() == "trigger"


async def test_three_past_lists_are_shown_and_each_button_names_its_own(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer(
        {
            "GET /exports": items(job(1, "failed"), job(2, "expired")),
            "GET /exports?past": items(job(3), job(4), job(5), more=True),
            "DELETE /exports/job-3": job(3, "deleted"),
        }
    )
    await page.open()
    await page.wait_for("root.querySelectorAll('#list > li').length === 3")
    assert await page.violations() == []
    labels = "[...root.querySelectorAll('#list [aria-label]')].map(({ ariaLabel }) => ariaLabel)"
    found = await page.get(labels)
    assert len(found) == 6
    assert all(label.startswith(("Get · Followers · ", "Delete · Followers · ")) for label in found)
    await page.answer({"GET /exports?past": items(*map(job, range(3, 9)))})
    await page.click("#all")
    await page.wait_for("root.querySelectorAll('#list > li').length === 6")
    assert await page.focused() == "heading"
    await page.click("[data-of='deletejob-3']")
    assert await page.violations() == []
    await page.answer({"GET /exports?past": items()})
    await page.click("[data-of='surejob-3']")
    await page.wait_until_hidden("#list > li")
    assert await page.focused() == "status"


@pytest.mark.parametrize("size", [(1366, 700), (500, 620)])
async def test_nothing_is_out_of_reach_in_a_small_window(
    stubbed: Open, engine: Engine, size: tuple[int, int]
) -> None:
    await engine.resize(*size)
    page = await stubbed()
    await page.answer({"GET /exports?past": items(*map(job, range(1, 6)))})
    await page.open()
    await page.click("#options")
    await page.wait_for("root.querySelectorAll('#list > li').length === 5")
    assert await page.run(f"return ({OUTSIDE})()") == []
    await page.click("[data-of='deletejob-5']")
    await page.wait_until_shown("#ask")
    await page.click("#download")
    await page.wait_until_shown("#file")
    assert await page.run(f"return ({OUTSIDE})()") == []
    await engine.resize(1280, 720)


async def test_what_one_gets_is_said_and_nothing_is_no_export(stubbed: Open) -> None:
    page = await stubbed()
    await page.answer({"GET /audience": counts(follower=1_048_576)})
    await page.open()
    await page.wait_for_text("#warning", "only the first 1,048,575 rows")
    assert "One CSV file with a row for each person" in await page.text("#message")
    await page.click("[name='follower']")
    await page.wait_for_text("#message", "Select at least one group.")
    assert await page.get("root.querySelector('#download').disabled")
    assert await page.violations() == []
    await page.click("#close")
    await page.answer({"GET /audience": counts(0, 0, 0)})
    await page.click("#trigger")
    await page.click("[name='follower']")
    await page.wait_for_text("#message", "there is nothing to export")
    assert await page.violations() == []
    assert await page.get("root.querySelector('#download').disabled")


async def test_a_failure_says_so_and_can_be_tried_again(stubbed: Open) -> None:
    page = await stubbed()
    failed = job(9, "failed")
    await page.answer({"POST /exports": [202, RUNNING], "GET /exports/job-9": failed})
    await page.open()
    await page.click("#download")
    await page.wait_for_text("#message", "The export could not be made.")
    assert await page.actions() == ["retry"]
    assert await page.violations() == []
    await page.answer(USUAL)
    await page.click("#retry")
    await page.wait_until_shown("#file")


@pytest.mark.parametrize(
    ("language", "export", "names"),
    [
        ("de", "Exportieren", "Follower, Kunden und Partner"),
        ("zh-CN", "导出", "关注者、客户和联盟伙伴"),
        ("zh-TW", "Export", "Followers, Customers, and Affiliates"),
    ],
)
async def test_names_are_joined_as_the_language_does(
    stubbed: Open, language: str, export: str, names: str
) -> None:
    page = await stubbed(f"&lang={language}")
    await page.answer({"POST /exports": [202, RUNNING], "GET /exports/job-9": RUNNING})
    await page.wait_for_text("#trigger", export)
    await page.open()
    everyone = RUNNING | {"sources": ["follower", "customer", "affiliate"]}
    await page.click("[name='customer']")
    await page.click("[name='affiliate']")
    await page.answer({"POST /exports": [202, everyone], "GET /exports/job-9": everyone})
    await page.click("#download")
    await page.wait_for_text("#message", names)


async def test_without_newer_features_it_works(stubbed: Open) -> None:
    page = await stubbed("&old=1")
    await page.answer({"GET /exports?past": items(job(5))})
    await page.open()
    await page.wait_until_shown("#list [aria-label^='Delete · Followers · ']")
    style = "getComputedStyle(root.querySelector('{}'))"
    assert await page.get(style.format("dialog") + ".backgroundColor") == "rgb(255, 255, 255)"
    assert await page.get(style.format("dialog") + ".color") == "rgb(22, 24, 29)"
    assert await page.get(style.format("#close") + ".display") != "none"
    assert await page.violations() == []
    await page.click("#download")
    await page.wait_until_shown("#file")
