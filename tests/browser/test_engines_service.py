"""Firefox and WebKit with the service: files, events, CORS, and what is done elsewhere."""

import httpx
import pytest

from tests.audience.storefront import Storefront
from tests.browser.conftest import Open
from tests.browser.engine_page import UNREACHABLE, EnginePage
from tests.browser.service import Records, Service
from tests.browser.shop import Shop
from tests.browser.test_export import COMBINATIONS, expected
from tests.tokens import bearer

pytestmark = pytest.mark.browser

VALUE = "root.querySelector('#bar').getAttribute('aria-valuenow')"

WATCH = """
    const send = window.fetch;
    window.streams = [];
    window.fetch = (address, options) => {
      if (!/events$/.test(address)) return send(address, options);
      window.streams.push(options);
      return (window.broken ?? send)(address, options);
    };
"""
"""Note the requests for events, and let ``broken`` answer them where there is one."""

BREAK = """
    const data = '{"status": "running", "sources": [], "progress": {}}';
    const text = `id: first\\nevent: progress\\ndata: ${data}\\n\\n`;
    window.broken = async () => { window.broken = undefined; return new Response(text); };
"""


async def content(page: EnginePage, selector: str) -> bytes:
    """Press a link, and return what the address answers that the dialog follows."""
    await page.run("window.saved.length = 0")
    # By the keyboard: the list of past exports may grow meanwhile, and move the link.
    await page.run("arguments[0].focus()", await page.element(selector))
    await page.press("Enter")
    await page.wait_for("window.saved.length === 1")
    [[address, target]] = await page.get("window.saved")
    assert target == "_blank"
    async with httpx.AsyncClient(follow_redirects=True) as client:
        answer = await client.get(address)
    assert answer.headers["Content-Disposition"].startswith("attachment; filename")
    return answer.content


async def delete_elsewhere(service: Service, shop: Shop, seller_id: int) -> None:
    """Delete a seller's newest export, or cancel it, as another tab would."""
    headers = bearer(shop.token(seller_id))
    async with httpx.AsyncClient(base_url=service.url, headers=headers) as client:
        newest = (await client.get("/exports")).json()["items"][0]
        answer = await client.delete(f"/exports/{newest['id']}")
        assert answer.is_success


async def test_every_combination_of_boxes_makes_its_file(
    served: Open, storefront: Storefront, seller_id: int
) -> None:
    page = await served()
    await page.note_links()
    await page.open()
    for keys in COMBINATIONS:
        await page.tick(*keys)
        await page.click("#download")
        assert await content(page, "#file") == await expected(storefront, seller_id, keys)
    await page.wait_for("root.querySelectorAll('#list > li').length === 3")
    await page.click("#all")
    count = len(COMBINATIONS)
    await page.wait_for(f"root.querySelectorAll('#list > li').length === {count}")
    assert await page.focused() == "heading"
    assert not await page.is_shown("#all")


async def test_a_workbook_of_a_period_and_a_period_of_nobody(served: Open) -> None:
    page = await served()
    await page.note_links()
    await page.open()
    await page.click("#options")
    await page.click("#panel label:nth-child(2) > [type='radio']")
    await page.fill("#panel label:nth-child(1) > [type='date']", "2000-01-01")
    await page.click("[name='sources']")
    await page.click("#download")
    assert (await content(page, "#file")).startswith(b"PK")
    await page.fill("#panel label:nth-child(2) > [type='date']", "2000-01-31")
    await page.wait_for_text("#message", "nothing to export")


async def test_events_say_what_happens_and_are_taken_up_where_they_broke(
    served: Open, service: Service, records: Records, seller_id: int
) -> None:
    page = await served()
    await page.run(WATCH)
    await page.run(BREAK)
    await page.open()
    with service.frozen_worker():
        await page.click("#download")
        await page.wait_for_text("#message", f"a link to seller{seller_id}@example.com")
        await page.wait_for("window.streams.length === 2")
        seen = "window.streams.map(({ headers }) => headers['Last-Event-ID'] ?? null)"
        assert await page.get(seen) == [None, "first"]
        export_id = await records.newest(seller_id)
        for rows, percent in ((25, "25"), (90, "90"), (120, None)):
            await records.change(
                export_id, status="running", rows_exported=rows, rows_estimated=100
            )
            await page.wait_for(f"{VALUE} === {percent!r}" if percent else f"{VALUE} === null")
        await page.run("window.taken = element; element.remove()")
        assert await page.engine.script("return window.streams.at(-1).signal.aborted")
        await page.engine.script("document.body.append(window.taken)")
        await page.open()
        await page.wait_until_shown("#bar")
        await records.change(export_id, status="queued")
    await page.wait_until_shown("#file")
    assert (await page.get("root.querySelector('#file').innerText")).endswith("kB")
    await page.wait_for_text("#message", "Followers: the file is ready, and valid until")
    assert await page.told() == [["started", "queued"], ["finished", "succeeded"]]


async def test_a_page_opened_again_finds_the_running_export_and_a_closed_dialog_its_end(
    served: Open, service: Service, records: Records, seller_id: int
) -> None:
    page = await served()
    await page.open()
    await page.tick("follower", "affiliate")
    with service.frozen_worker():
        await page.click("#download")
        await page.wait_until_shown("#bar")
        await records.change(
            await records.newest(seller_id), status="running", rows_exported=3, rows_estimated=4
        )
        page = await served()
        await page.open()
        await page.wait_for(f"{VALUE} === '75'")
        await page.wait_for_text("#message", "Preparing Followers and Affiliates …")
        await page.click("#close")
        await records.change(await records.newest(seller_id), status="queued")
    await page.wait_for("told.length")
    assert await page.told() == [["finished", "succeeded"]]
    await page.open()
    assert await page.actions() == ["file"]


async def test_a_failure_is_told_and_an_export_cancelled_elsewhere_too(
    served: Open, service: Service, records: Records, shop: Shop, seller_id: int
) -> None:
    page = await served()
    await page.open()
    with service.frozen_worker():
        await page.click("#download")
        await page.wait_until_shown("#bar")
        await records.fail_newest(seller_id)
        await page.wait_for_text("#message", "The export could not be made.")
        assert "storage" not in await page.text("#message")
        await page.click("#retry")
        await page.wait_until_shown("#bar")
        await delete_elsewhere(service, shop, seller_id)
        await page.wait_for_text("#message", "Cancelled")
    assert await page.actions() == ["download"]
    states = ["failed", "cancelled"]
    assert [told for told in await page.told() if told[0] != "started"] == [[s, s] for s in states]


async def test_a_file_deleted_elsewhere_is_not_downloaded(
    served: Open, service: Service, shop: Shop, seller_id: int
) -> None:
    page = await served()
    await page.note_links()
    await page.open()
    await page.tick("customer")
    await page.click("#download")
    await page.wait_until_shown("#file")
    assert (await content(page, "#list [data-of^=get]")).count(b"\n") == 3
    await page.run("window.saved.length = 0")
    await delete_elsewhere(service, shop, seller_id)
    await page.click("#file")
    await page.wait_for_text("#message", "Deleted")
    assert await page.actions() == ["download"]
    assert await page.get("window.saved") == []


async def test_without_the_dialogs_modules_the_button_says_so_until_they_come(
    served: Open, service: Service, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By another name than in other tests: no module of the dialog is in the browser's cache.
    monkeypatch.setattr(shop, "api_url", service.url.replace("127.0.0.1", "localhost"))
    page = await served()
    service.stop_api()
    await page.click("#trigger")
    await page.wait_for_text("#notice", UNREACHABLE)
    assert await page.is_shown("#notice")
    service.start_api()
    await page.click("#trigger")
    await page.wait_for_text("#customer-count", "2")
