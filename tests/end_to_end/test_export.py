"""From the request to the list in the seller's hands, through every real part."""

from itertools import count
from typing import Any

import httpx
import pytest

from tests.audience.storefront import Storefront
from tests.csv_oracle import KEYS, expected_csv
from tests.end_to_end.conftest import Stack, finished
from tests.workbooks import opened
from tests.xlsx_oracle import expected_sheet

sellers = count(1000)

ADDRESSES = ("ann@x.co", " BOB@x.co ", "=cmd@x.co", "josé@x.co", '"a,b"@x.co', "+tag@x.co")


@pytest.fixture
def seller_id() -> int:
    """A seller that no other test knows."""
    return next(sellers)


async def create_export(client: httpx.AsyncClient, seller_id: int, **fields: Any) -> dict[str, Any]:
    """Ask for an export as the service and return it when it has ended."""
    body = {"seller_id": seller_id, "recipient_email": f"seller{seller_id}@example.com"} | fields
    answer = await client.post("/exports", json=body)
    assert answer.status_code == 202, answer.text
    return await finished(client, answer.json()["id"])


async def populate(storefront: Storefront, seller_id: int) -> None:
    """Give a seller people in every source."""
    for number, email in enumerate(ADDRESSES):
        await storefront.follow(email, seller_id=seller_id)
        if number % 2:
            await storefront.buy(email, seller_id=seller_id)
        if number % 3 == 0:
            await storefront.refer(email, seller_id=seller_id)


async def test_a_list_arrives_by_mail_and_is_right(
    stack: Stack, client: httpx.AsyncClient, storefront: Storefront, seller_id: int
) -> None:
    await populate(storefront, seller_id)
    columns = ["email", "subscribed_at", "sources", *(f"{key}_since" for key in KEYS)]
    export = await create_export(client, seller_id, **dict.fromkeys(KEYS, True), columns=columns)
    assert export["status"] == "succeeded"

    (mail,) = stack.mails(f"seller{seller_id}@example.com")
    assert mail["Subject"].startswith("Your audience export is ready: Followers, customers, and")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert export["id"] in mail["Message-ID"]
    plain = mail.get_body(("plain",))
    html = mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert f"lists {len(ADDRESSES)} people" in plain.get_content()
    assert export["download_url"] in plain.get_content()
    assert export["download_url"] in html.get_content()

    async with httpx.AsyncClient(follow_redirects=True) as browser:
        file = await browser.get(export["download_url"])
    members = await storefront.members()
    assert file.content == expected_csv(members, seller_id, KEYS, columns)
    assert file.headers["content-type"].startswith("text/csv")
    assert export["file"]["name"] in file.headers["content-disposition"]
    assert export["file"]["rows"] == len(ADDRESSES)
    assert export["file"]["bytes"] == len(file.content)


async def test_a_workbook_arrives_too(
    client: httpx.AsyncClient, storefront: Storefront, seller_id: int
) -> None:
    await populate(storefront, seller_id)
    columns = ["email", "subscribed_at", "sources", *(f"{key}_since" for key in KEYS)]
    export = await create_export(
        client,
        seller_id,
        **dict.fromkeys(KEYS, True),
        columns=columns,
        format="xlsx",
        timezone="Europe/Berlin",
    )
    assert (export["status"], export["format"]) == ("succeeded", "xlsx")

    async with httpx.AsyncClient(follow_redirects=True) as browser:
        file = await browser.get(export["download_url"])
    members = await storefront.members()
    [(name, rows)] = opened(file.content).rows.items()
    assert name == "Audience"
    assert rows == expected_sheet(members, seller_id, KEYS, columns, timezone="Europe/Berlin")
    assert file.headers["content-type"] == (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    )
    assert export["file"]["name"].endswith(".xlsx")
    assert export["file"]["name"] in file.headers["content-disposition"]
    assert export["file"]["rows"] == len(ADDRESSES)
    assert export["file"]["bytes"] == len(file.content)


async def test_a_list_and_its_mail_are_in_the_language_and_time_zone_of_the_request(
    stack: Stack, client: httpx.AsyncClient, storefront: Storefront, seller_id: int
) -> None:
    await storefront.follow("ann@x.co", seller_id=seller_id)
    options = {"locale": "de-AT", "timezone": "Europe/Vienna"}
    export = await create_export(client, seller_id, follower=True, **options)
    (mail,) = stack.mails(f"seller{seller_id}@example.com")
    assert mail["Subject"] == "Ihr Publikumsexport ist fertig: Follower, 1 Person"
    assert mail["Content-Language"] == "de"
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert "(Europe/Vienna)" in plain.get_content()
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        file = await browser.get(export["download_url"])
    assert file.text.startswith("E-Mail,Angemeldet am (Europe/Vienna)\n")


async def test_an_empty_audience_is_a_file_too(client: httpx.AsyncClient, seller_id: int) -> None:
    export = await create_export(client, seller_id, follower=True)
    assert (export["status"], export["file"]["rows"]) == ("succeeded", 0)
    assert export["email"]["status"] == "sent"


async def test_the_snapshot_is_true_for_its_instant(
    client: httpx.AsyncClient, storefront: Storefront, seller_id: int
) -> None:
    await storefront.follow("early@x.co", seller_id=seller_id)
    export = await create_export(client, seller_id, follower=True)
    await storefront.follow("late@x.co", seller_id=seller_id)
    assert export["created_at"] <= export["started_at"] <= export["snapshot_at"]
    assert export["snapshot_at"] <= export["finished_at"] < export["expires_at"]
    assert export["file"]["rows"] == 1


async def test_a_repeated_request_with_the_same_key_makes_one_export_and_one_mail(
    stack: Stack, client: httpx.AsyncClient, seller_id: int
) -> None:
    recipient = f"seller{seller_id}@example.com"
    body = {"seller_id": seller_id, "recipient_email": recipient, "follower": True}
    answers = [
        await client.post("/exports", json=body, headers={"Idempotency-Key": "once"})
        for _ in range(3)
    ]
    assert len({answer.json()["id"] for answer in answers}) == 1
    await finished(client, answers[0].json()["id"])
    assert len(stack.mails(recipient)) == 1
