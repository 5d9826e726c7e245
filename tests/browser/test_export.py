"""The whole way, from the button to the file and the mail."""

import re
from email.message import EmailMessage
from itertools import chain, combinations

import httpx
import pytest
from playwright.async_api import Route, expect

from app.database.connections import Connection
from tests.audience.storefront import Storefront
from tests.browser.conftest import Visit
from tests.browser.dialog import NAMES
from tests.browser.service import Records, Service
from tests.csv_oracle import expected_csv
from tests.oracle import members
from tests.polling import until

pytestmark = pytest.mark.browser

COMBINATIONS = list(chain.from_iterable(combinations(NAMES, size) for size in (1, 2, 3)))


async def expected(storefront: Storefront, seller_id: int, keys: tuple[str, ...]) -> bytes:
    tables = ("followers", "purchases", "affiliates")
    rows = {table: await storefront.rows(table) for table in tables}
    return expected_csv(members(rows), seller_id, keys, ["email", "subscribed_at"])


async def test_every_combination_of_boxes_downloads_its_file(
    visit: Visit, storefront: Storefront, seller_id: int
) -> None:
    dialog = await visit()
    await dialog.open()
    for keys in COMBINATIONS:
        await dialog.tick(keys)
        await dialog.download.click()
        await dialog.ready()
        name, content = await dialog.save()
        assert name.startswith(f"audience-{seller_id}-")
        assert content == await expected(storefront, seller_id, keys)
    await expect(dialog.past).to_have_count(3)
    await dialog.show_all.click()
    await expect(dialog.past).to_have_count(len(COMBINATIONS))
    await expect(dialog.page.locator("audience-export #heading")).to_be_focused()
    await expect(dialog.show_all).to_be_hidden()


async def test_an_excel_file_of_a_period_with_further_columns(visit: Visit) -> None:
    dialog = await visit()
    page = dialog.page
    await dialog.open()
    await dialog.options.click()
    await page.get_by_role("radio", name="Excel").check()
    await page.get_by_label("Joined from").fill("2000-01-01")
    await page.get_by_role("checkbox", name="Sources").check()
    await expect(dialog.box("follower")).to_have_accessible_description("3")
    await dialog.download.click()
    await dialog.ready()
    name, content = await dialog.save()
    assert name.endswith(".xlsx")
    assert content.startswith(b"PK")
    await page.get_by_label("Joined until").fill("2000-01-31")
    await expect(dialog.status).to_contain_text("nothing to export")


async def test_what_happens_is_said_at_every_step(
    visit: Visit, service: Service, records: Records, seller_id: int
) -> None:
    dialog = await visit()
    await dialog.open()
    await expect(dialog.status).to_contain_text("email you a link")
    await dialog.box("follower").uncheck()
    await expect(dialog.status).to_have_text("Select at least one group.")
    await dialog.box("follower").check()
    with service.frozen_worker():
        await dialog.download.click()
        await expect(dialog.status).to_contain_text(f"a link to seller{seller_id}@example.com")
        await expect(dialog.status).to_contain_text("close this page")
        await expect(dialog.download).to_be_hidden()
        export_id = await records.newest(seller_id)
        for rows, percent in ((0, None), (25, "25"), (90, "90"), (120, None)):
            await records.change(
                export_id, status="running", rows_exported=rows, rows_estimated=100
            )
            if percent:
                await expect(dialog.progress).to_have_attribute("aria-valuenow", percent)
            else:
                await expect(dialog.progress).not_to_have_attribute(
                    "aria-valuenow", re.compile(".")
                )
        await records.change(export_id, status="queued")
    await dialog.ready()
    await expect(dialog.file).to_have_accessible_name(
        re.compile("^Download file 3 people · .* kB$")
    )
    await expect(dialog.status).to_contain_text("Followers: the file is ready, and valid until")
    await expect(dialog.progress).to_be_hidden()
    assert await dialog.told() == [["started", "queued"], ["finished", "succeeded"]]


async def test_the_mail_leads_to_the_same_file(
    visit: Visit, service: Service, storefront: Storefront, seller_id: int
) -> None:
    dialog = await visit()
    await dialog.start("follower", "customer")
    await dialog.ready()
    _, content = await dialog.save()

    async def mails() -> list[EmailMessage]:
        return service.mails_to(f"seller{seller_id}@example.com")

    await until(mails)
    [mail] = await mails()
    text = mail.get_body(("plain",))
    assert text is not None
    [link] = re.findall(rf"{service.url}/d/\S+", text.get_content())
    async with httpx.AsyncClient(follow_redirects=True) as client:
        assert (await client.get(link)).content == content


async def test_a_failure_says_why_and_can_be_tried_again(
    visit: Visit, service: Service, records: Records, seller_id: int
) -> None:
    dialog = await visit()
    with service.frozen_worker():
        await dialog.start("customer")
        await expect(dialog.progress).to_be_visible()
        await records.fail_newest(seller_id)
        await expect(dialog.status).to_contain_text("The export could not be made.")
        await expect(dialog.status).not_to_contain_text("storage")
    await expect(dialog.download).to_be_hidden()
    await dialog.retry.click()
    await dialog.ready()
    await expect(dialog.past).to_contain_text(["Customers"])
    told = await dialog.told()
    assert ["failed", "failed"] in told
    assert told[-1] == ["finished", "succeeded"]


async def test_too_many_at_once_are_deferred(visit: Visit) -> None:
    dialog = await visit()
    await dialog.open()
    document = {"status": 429, "detail": "20 exports were asked for within an hour."}

    async def refuse(route: Route) -> None:
        headers = {"Retry-After": "310", "Access-Control-Allow-Origin": "*"}
        headers["Access-Control-Expose-Headers"] = "Retry-After"
        if route.request.method == "POST":
            await route.fulfill(status=429, json=document, headers=headers)
        else:
            await route.fallback()

    await dialog.page.route("**/exports", refuse)
    await dialog.download.click()
    await expect(dialog.status).to_contain_text("try again in 6 minutes")
    await dialog.page.unroute("**/exports")
    await dialog.retry.click()
    await dialog.ready()


async def test_a_request_whose_answer_was_lost_makes_one_export(
    visit: Visit, connection: Connection, seller_id: int
) -> None:
    dialog = await visit()
    await dialog.open()

    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await dialog.page.route("**/exports", lose)
    await dialog.download.click()
    await expect(dialog.status).to_contain_text("The service cannot be reached just now.")
    await dialog.page.unroute("**/exports")
    await dialog.retry.click()
    await dialog.ready()
    sql = "SELECT count(*) FROM exports WHERE seller_id = $1"
    assert await connection.fetchval(sql, seller_id) == 1
