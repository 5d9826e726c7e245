"""A running export, whatever happens meanwhile: reloads, lost streams, a new token, two tabs."""

from itertools import count

import httpx
import pytest
from playwright.async_api import Route, expect

from app.auth.tokens import CLOCK_SKEW_S
from tests.browser.conftest import Visit
from tests.browser.dialog import SOON_MS
from tests.browser.service import Records, Service
from tests.browser.shop import Shop
from tests.polling import until
from tests.tokens import bearer

pytestmark = pytest.mark.browser


async def test_a_page_opened_again_finds_the_running_export(
    visit: Visit, service: Service, records: Records, seller_id: int
) -> None:
    dialog = await visit()
    with service.frozen_worker():
        await dialog.start("follower", "affiliate")
        await expect(dialog.progress).to_be_visible()
        await records.change(
            await records.newest(seller_id), status="running", rows_exported=3, rows_estimated=4
        )
        await dialog.page.reload()
        await dialog.open()
        await expect(dialog.progress).to_have_attribute("aria-valuenow", "75")
        await expect(dialog.status).to_contain_text("Preparing Follower")
        await records.change(await records.newest(seller_id), status="queued")
    await dialog.ready()
    assert await dialog.told() == [["finished", "succeeded"]]


async def test_a_closed_dialog_goes_on_listening(visit: Visit, service: Service) -> None:
    dialog = await visit()
    with service.frozen_worker():
        await dialog.start()
        await expect(dialog.progress).to_be_visible()
        await dialog.close.click()

    async def has_finished() -> bool:
        return ["finished", "succeeded"] in await dialog.told()

    await until(has_finished, SOON_MS / 1000)
    await dialog.open()
    await expect(dialog.file).to_be_visible()


async def test_without_events_the_dialog_asks(visit: Visit) -> None:
    dialog = await visit()
    await dialog.page.route("**/events", lambda route: route.abort())
    await dialog.start()
    await dialog.ready()


async def test_a_stream_that_breaks_is_taken_up_where_it_broke(
    visit: Visit, service: Service
) -> None:
    dialog = await visit()
    asked: list[str | None] = []

    async def cut(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        if len(asked) > 1:
            await route.fallback()
            return
        data = '{"status": "running", "sources": [], "progress": {}}'
        body = f"id: first\nevent: progress\ndata: {data}\n\n"
        headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "text/event-stream"}
        await route.fulfill(body=body, headers=headers)

    async def asked_twice() -> bool:
        return len(asked) > 1

    await dialog.page.route("**/events", cut)
    with service.frozen_worker():
        await dialog.start()
        await until(asked_twice)
    await dialog.ready()
    assert asked[:2] == [None, "first"]


async def test_the_api_may_go_away_and_come_back(
    visit: Visit, service: Service, records: Records, seller_id: int
) -> None:
    dialog = await visit()
    with service.frozen_worker():
        await dialog.start()
        await expect(dialog.progress).to_be_visible()
        service.stop_api()
        await expect(dialog.status).to_contain_text("Connection lost")
        service.start_api()
        await records.change(
            await records.newest(seller_id), status="running", rows_exported=1, rows_estimated=2
        )
        await expect(dialog.status).to_contain_text("Preparing Follower", timeout=SOON_MS)
        await expect(dialog.progress).to_have_attribute("aria-valuenow", "50")
        await records.change(await records.newest(seller_id), status="queued")
    await dialog.ready()


async def test_a_token_that_expires_is_asked_for_again(
    visit: Visit, service: Service, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop, "lifetime_s", 2.0 - CLOCK_SKEW_S)
    dialog = await visit()
    await dialog.open()
    last = bearer(shop.last_token)

    async def has_expired() -> bool:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{service.url}/audience", headers=last)).status_code == 401

    await until(has_expired)
    monkeypatch.setattr(shop, "lifetime_s", 600.0)
    asked = shop.tokens_asked
    await dialog.download.click()
    await dialog.ready()
    assert shop.tokens_asked > asked


async def test_who_is_signed_out_is_told_and_can_go_on_after_signing_in(
    visit: Visit, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = await visit()
    with monkeypatch.context() as patch:
        patch.setattr(shop, "lifetime_s", -1000.0)
        await dialog.export.click()
        await expect(dialog.status).to_contain_text("You are not signed in")
    await dialog.retry.click()
    await expect(dialog.box("customer")).to_have_accessible_description("2")
    await expect(dialog.retry).to_be_hidden()


async def test_two_tabs_share_one_export(visit: Visit, service: Service) -> None:
    first, second = await visit(), await visit()
    with service.frozen_worker():
        for tab in (first, second):
            await tab.open()
        for tab in (first, second):
            await tab.download.click()
            await expect(tab.progress).to_be_visible()
    for tab in (first, second):
        await tab.ready()
        await expect(tab.past).to_have_count(1)


async def test_an_export_can_be_stopped(visit: Visit, service: Service) -> None:
    first, second = await visit(), await visit()
    with service.frozen_worker():
        await first.start("customer")
        await expect(first.progress).to_be_visible()
        await second.open()
        await expect(second.progress).to_be_visible()
        await first.cancel.click()
        for tab in (first, second):
            await expect(tab.status).to_contain_text("Cancelled")
            await expect(tab.past).to_have_count(0)
            await expect(tab.download).to_be_enabled()
    assert (await first.told())[-1] == ["cancelled", "cancelled"]


async def test_a_file_is_erased_once_its_seller_is_sure(visit: Visit) -> None:
    dialog = await visit()
    await dialog.start()
    await dialog.ready()
    row = dialog.past.first
    await row.get_by_role("button", name="Delete · ").click()
    await expect(row).to_contain_text("Delete this file?")
    keep = row.get_by_role("button", name="Keep")
    await expect(keep).to_be_focused()
    await keep.click()
    await expect(row).to_contain_text("3 people")
    erase = row.get_by_role("button", name="Delete · ")
    await expect(erase).to_be_focused()
    await erase.click()
    await row.get_by_role("button", name="Delete", exact=True).click()
    await expect(dialog.past).to_have_count(0)
    await expect(dialog.file).to_be_hidden()
    await expect(dialog.status).to_contain_text("Deleted")


async def test_a_file_erased_elsewhere_is_not_downloaded(visit: Visit) -> None:
    first, second = await visit(), await visit()
    await first.start()
    await first.ready()
    await second.open()
    await second.past.get_by_role("button", name="Delete · ").click()
    await second.past.get_by_role("button", name="Delete", exact=True).click()
    await expect(second.past).to_have_count(0)
    await first.file.click()
    await expect(first.status).to_contain_text("Deleted")
    await expect(first.file).to_be_hidden()
    assert first.page.url.startswith("http://127.0.0.1")


async def test_past_files_are_downloaded_from_the_list(visit: Visit) -> None:
    dialog = await visit()
    await dialog.start("customer")
    await dialog.ready()
    await dialog.page.reload()
    await dialog.open()
    await expect(dialog.file).to_be_hidden()
    row = dialog.past.first
    await expect(row).to_contain_text("Customers")
    await expect(row).to_contain_text("2 people · 0.1 kB")
    name, content = await dialog.save(row.get_by_role("link", name="Get · "))
    assert name.endswith(".csv")
    assert content.count(b"\n") == 3


async def test_other_exports_that_run_are_kept_up_to_date_in_the_list(
    visit: Visit, service: Service
) -> None:
    dialog = await visit()
    with service.frozen_worker():
        await dialog.start("follower")
        await expect(dialog.progress).to_be_visible()
        await dialog.tick(["customer"])
        await dialog.download.click()
        await expect(dialog.past).to_contain_text(["In progress"])
        await expect(dialog.past.get_by_role("button", name="Cancel · ")).to_be_visible()
    await expect(dialog.past).to_have_count(2)
    await expect(dialog.past.last).to_contain_text("3 people")


async def test_progress_makes_nothing_again_under_the_pointer(
    visit: Visit, service: Service, records: Records, seller_id: int
) -> None:
    dialog = await visit()
    await dialog.start("customer")
    await dialog.ready()
    with service.frozen_worker():
        await dialog.tick(["follower"])
        await dialog.download.click()
        await expect(dialog.progress).to_be_visible()
        await expect(dialog.past).to_have_count(1)
        erase = await dialog.past.get_by_role("button", name="Delete · ").element_handle()
        assert erase is not None
        export_id = await records.newest(seller_id)
        await records.change(export_id, status="running", rows_exported=1, rows_estimated=2)
        await expect(dialog.progress).to_have_attribute("aria-valuenow", "50")
        assert await erase.evaluate("(button) => button.isConnected")
        await records.change(export_id, status="queued")
    await dialog.ready()


async def test_a_new_download_url_leaves_the_past_exports_under_the_pointer(
    visit: Visit, service: Service
) -> None:
    """Presigned URLs differ in each response, as does what a row does not show."""
    dialog = await visit()
    answers = count(1)

    async def sign_again(route: Route) -> None:
        response = await route.fetch()
        body = await response.json()
        for number, item in zip(answers, body["items"], strict=False):
            item |= {"download_url": f"{item['download_url']}?signed={number}", "downloads": number}
        await route.fulfill(response=response, json=body)

    await dialog.page.route("**/exports?status=succeeded*", sign_again)
    await dialog.start("customer")
    await dialog.ready()
    with service.frozen_worker():
        for key in ("follower", "affiliate"):
            await dialog.tick([key])
            await dialog.download.click()
            await expect(dialog.progress).to_be_visible()
        await expect(dialog.past).to_have_count(2)
        link = dialog.past.get_by_role("link")
        get, first = await link.element_handle(), await link.get_attribute("href")
        assert get is not None

        async def is_signed_again() -> bool:
            return await link.get_attribute("href") != first

        await until(is_signed_again, SOON_MS / 1000)
        assert await get.evaluate("(link) => link.isConnected")
