"""Whatever the network does, the phase ends, and the dialog comes back by itself."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Request, expect

from tests.browser.dialog import SOON_MS, Dialog
from tests.browser.stub import StubbedService, job
from tests.polling import until

pytestmark = pytest.mark.browser

LIMIT_MS = 21_000


@pytest.fixture
async def stub(stub: StubbedService) -> AsyncIterator[StubbedService]:
    """The stubbed service, on a page whose clock the test moves."""
    await stub.page.clock.install()
    yield stub
    await stub.page.clock.resume()


async def pass_time(locator: Locator) -> None:
    """Pass the time limit, until something is visible: a limit may be set after the first."""

    async def is_visible() -> bool:
        await locator.page.clock.fast_forward(LIMIT_MS)
        return await locator.is_visible()

    await until(is_visible, SOON_MS / 1000)


async def test_a_request_that_is_never_answered_ends(stub: StubbedService, dialog: Dialog) -> None:
    await dialog.open()
    stub.answers["POST /exports"] = None
    await dialog.download.click()
    await expect(dialog.status).to_contain_text("Preparing Followers …")
    await pass_time(dialog.status.filter(has_text="The service cannot be reached just now."))
    del stub.answers["POST /exports"]
    await dialog.retry.click()
    await expect(dialog.file).to_be_visible()
    keys = {request.headers.get("idempotency-key") for request in stub.requests} - {None}
    assert len(keys) == 1


async def test_a_token_that_never_comes_ends(stub: StubbedService, dialog: Dialog) -> None:
    await dialog.page.evaluate(
        "void (document.querySelector('audience-export').getToken = () => new Promise(() => {}))"
    )
    await dialog.export.click()
    await expect(dialog.dialog).to_be_visible()
    await pass_time(dialog.status.filter(has_text="The service cannot be reached just now."))


async def test_an_export_whose_progress_is_never_answered_says_so(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.started = job(1, "running")
    stub.answers["GET /exports/job-1"] = None
    await dialog.start()
    await expect(dialog.progress).to_be_visible()
    await pass_time(dialog.status.filter(has_text="Connection lost"))
    stub.answers["GET /exports/job-1"] = job(1)
    await pass_time(dialog.file)


@pytest.mark.parametrize("form", ["seconds", "date", "nonsense"])
@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("exports_per_hour", "You have made 20 exports within an hour"),
        ("active_exports", "You have 20 exports in progress"),
        (None, "That is too many exports at once"),
    ],
)
async def test_a_quota_says_which_and_until_when(
    stub: StubbedService, dialog: Dialog, limit: str | None, text: str, form: str
) -> None:
    then = datetime.now(UTC) + timedelta(seconds=310)
    date = format_datetime(then.replace(microsecond=0), usegmt=True)
    stub.headers = {"Retry-After": {"seconds": "310", "date": date, "nonsense": "soon"}[form]}
    stub.answers["POST /exports"] = (429, {"limit": limit, "maximum": 20, "detail": "x"})
    await dialog.start()
    await expect(dialog.status).to_contain_text(text)
    if form != "nonsense" and limit != "active_exports":
        await expect(dialog.status).to_contain_text("in 6 minutes (")
    await expect(dialog.retry).to_be_visible()


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 503])
async def test_an_error_is_never_empty(stub: StubbedService, dialog: Dialog, status: int) -> None:
    stub.answers["POST /exports"] = (status, {})
    await dialog.start()
    await expect(dialog.retry).to_be_visible()
    assert await dialog.page.locator("audience-export #message").inner_text()


async def test_a_dialog_opened_while_the_service_is_unavailable_comes_back_by_itself(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.answers["GET /audience"] = (503, {})
    await dialog.export.click()
    await expect(dialog.status).to_contain_text("cannot be reached just now. Trying again …")
    results = await Axe().run(dialog.page)
    assert results.violations_count == 0, results.generate_report()
    del stub.answers["GET /audience"]
    await dialog.page.clock.fast_forward(1000)
    await expect(dialog.box("follower")).to_have_accessible_description("3")
    await expect(dialog.download).to_be_enabled()
    await expect(dialog.retry).to_be_hidden()


async def test_an_export_that_is_still_being_sent_can_be_cancelled(
    stub: StubbedService, dialog: Dialog
) -> None:
    await dialog.open()
    begun: list[Request] = []

    def wait(request: Request) -> None:
        begun.append(request)

    stub.answers["POST /exports"] = wait
    await dialog.download.click()
    await dialog.cancel.click()
    await expect(dialog.cancel).to_be_disabled()
    await expect(dialog.status).to_contain_text("Cancelling …")
    await dialog.page.clock.fast_forward(LIMIT_MS)
    await expect(dialog.cancel).to_be_hidden()


async def test_a_cancellation_that_fails_can_be_tried_again(
    stub: StubbedService, dialog: Dialog
) -> None:
    stub.started = job(1, "running")
    stub.answers["GET /exports/job-1"] = stub.started
    stub.answers["DELETE /exports/job-1"] = (503, {})
    await dialog.start()
    await expect(dialog.status).to_contain_text("email a link to")
    await dialog.cancel.click()
    await expect(dialog.status).to_contain_text("cannot be reached")

    def cancel(_: Request) -> object:
        stub.answers["GET /exports/job-1"] = job(1, "cancelled")
        return job(1, "running")

    stub.answers["DELETE /exports/job-1"] = cancel
    await dialog.cancel.click()
    await expect(dialog.status).to_contain_text("Cancelled")
    await expect(dialog.download).to_be_enabled()


@pytest.mark.parametrize(("exported", "shown"), [(0, None), (40, "40"), (100, None), (900, None)])
async def test_progress_shows_no_number_that_it_does_not_know(
    stub: StubbedService, dialog: Dialog, exported: int, shown: str | None
) -> None:
    progress = {"rows_exported": exported, "rows_estimated": 100}
    stub.started = job(1, "running", progress=progress)
    stub.answers["GET /exports/job-1"] = stub.started
    await dialog.start()
    await expect(dialog.progress).to_be_visible()
    assert await dialog.progress.get_attribute("aria-valuenow") == shown
