"""A token belongs to one opening, and nothing of one account is shown to another."""

import pytest
from playwright.async_api import Request, expect

from tests.browser.dialog import Dialog
from tests.browser.stub import StubbedService, job
from tests.tokens import mint

pytestmark = pytest.mark.browser

ELEMENT = "document.querySelector('audience-export')"


async def sign_in(dialog: Dialog, seller_id: int) -> str:
    """Let the page's function return this seller's token from now on."""
    token = mint("s" * 32, seller_id=seller_id, email=f"seller{seller_id}@example.com")
    await dialog.page.evaluate("token => { window.token = token; }", token)
    return token


async def first_opening(stub: StubbedService, dialog: Dialog) -> None:
    """Open the dialog as the first seller, who has a past export and a file ready."""
    first = await sign_in(dialog, 1)

    def count(request: Request) -> object:
        stub.counts["follower"] = 11 if request.headers["authorization"].endswith(first) else 22
        return stub.usual(request)

    stub.answers["GET /audience"] = count
    stub.past = [job(5)]
    await dialog.page.evaluate(
        f"void ({ELEMENT}.getToken = async () => {{ window.calls = (window.calls ?? 0) + 1; "
        "return token })"
    )
    await dialog.start()
    await expect(dialog.file).to_be_visible()
    await expect(dialog.past).to_have_count(1)
    await expect(dialog.box("follower")).to_have_accessible_description("11")


async def assert_empty(dialog: Dialog) -> None:
    await expect(dialog.file).to_have_count(0)
    await expect(dialog.past).to_have_count(0)


async def test_each_opening_has_a_token_of_its_own(stub: StubbedService, dialog: Dialog) -> None:
    await first_opening(stub, dialog)
    assert await dialog.page.evaluate("calls") == 1
    await dialog.close.click()
    await dialog.open()
    await expect(dialog.file).to_be_visible()
    assert await dialog.page.evaluate("calls") == 2


async def test_the_same_function_with_another_persons_token_empties_the_dialog(
    stub: StubbedService, dialog: Dialog
) -> None:
    await first_opening(stub, dialog)
    await dialog.close.click()
    await sign_in(dialog, 2)
    stub.past = []
    stub.answers["GET /exports"] = None
    await dialog.export.click()
    await expect(dialog.box("follower")).to_have_accessible_description("22")
    await assert_empty(dialog)
    await expect(dialog.download).to_be_enabled()


async def test_nothing_is_shown_before_the_token_has_come(
    stub: StubbedService, dialog: Dialog
) -> None:
    await first_opening(stub, dialog)
    await dialog.close.click()
    await dialog.page.evaluate("void (window.token = new Promise(() => {}))")
    await dialog.export.click()
    await expect(dialog.download).to_be_visible()
    await assert_empty(dialog)
    await expect(dialog.box("follower")).to_have_accessible_description("")


async def test_another_function_or_a_sign_out_empties_the_dialog(
    stub: StubbedService, dialog: Dialog
) -> None:
    for script in (
        f"{ELEMENT}.reset()",
        f"{ELEMENT}.close(); void ({ELEMENT}.getToken = async () => token)",
    ):
        await first_opening(stub, dialog)
        await dialog.page.evaluate(script)
        await expect(dialog.dialog).to_be_hidden()
        badge = dialog.page.locator("audience-export #badge")
        await expect(badge).to_be_hidden()
        stub.past = []
        await sign_in(dialog, 2)
        await dialog.open()
        await assert_empty(dialog)
        await dialog.page.reload()


async def test_an_answer_to_the_old_account_is_not_shown_to_the_new_one(
    stub: StubbedService, dialog: Dialog
) -> None:
    await sign_in(dialog, 1)
    stub.answers["POST /exports"] = None
    await dialog.start()
    await expect(dialog.cancel).to_be_visible()
    await dialog.page.evaluate(f"void ({ELEMENT}.getToken = async () => token)")
    await expect(dialog.cancel).to_be_hidden()
    await expect(dialog.download).to_be_enabled()
    assert await dialog.told() == []
