"""Importing files: what is written, what is rejected, what repeating changes."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from app.audience.sources import SOURCES_BY_KEY
from app.cli.import_file import source_table
from app.errors import DatabaseUnavailable, InvalidImportFile
from app.feeds.batches import BatchReader
from app.feeds.csv_records import open_decompressed, read_records
from app.feeds.imports import ImportProgress, import_batches
from app.feeds.staging import RejectedLine
from tests.audience.storefront import CUT, DAY, Storefront

HEADER = "key,seller_id,email,created_at,confirmed_at"


class Operator:
    """Imports files, and keeps the rejected lines of the last one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.rejected: list[str] = []

    async def imports(
        self, *lines: str, source: str = "follower", streams: int = 2, batch: int = 3, **how: Any
    ) -> ImportProgress:
        """Import a file of ``lines``, the first of which is its header."""
        self.rejected = []
        file = io.BufferedReader(io.BytesIO("\n".join(lines).encode()))
        records = read_records(open_decompressed(file))
        target = await source_table(self._url, SOURCES_BY_KEY[source])
        batches = BatchReader(records, target, streams, batch)
        return await import_batches(self._url, batches, self._save_rejected, streams=streams, **how)

    def _save_rejected(self, _: ImportProgress, rejected: list[RejectedLine]) -> None:
        self.rejected += [f"line {each.line}: {each.reason}" for each in rejected]


@pytest.fixture
def operator(database_url: str) -> Operator:
    """An operator of the test's own database."""
    return Operator(database_url)


def line(key: str, email: str = "ann@x.co", seller: int = 1) -> str:
    return f"{key},{seller},{email},{DAY.isoformat()},{DAY.isoformat()}"


async def everything(storefront: Storefront) -> list[list[str]]:
    return [sorted(map(str, await storefront.rows(name))) for name in ("followers", "source_keys")]


async def test_imported_rows_are_members_at_once(
    operator: Operator, storefront: Storefront
) -> None:
    lines = [line(str(number), f"fan{number}@x.co", 1 + number % 3) for number in range(20)]
    imported = await operator.imports(HEADER, *lines)
    assert (imported.records, imported.rejected, imported.written.added) == (20, 0, 20)
    expected = {(1 + number % 3, f"fan{number}@x.co"): {"follower": CUT} for number in range(20)}
    assert await storefront.members() == expected


async def test_repeating_an_import_with_keys_changes_nothing(
    operator: Operator, storefront: Storefront
) -> None:
    lines = [HEADER, *(line(str(number), f"fan{number}@x.co") for number in range(10))]
    await operator.imports(*lines)
    before = await everything(storefront)
    again = await operator.imports(*lines, streams=1, batch=4)
    assert again.written.rows == 0
    assert await everything(storefront) == before


async def test_without_keys_rows_are_added(operator: Operator, storefront: Storefront) -> None:
    lines = [each.partition(",")[2] for each in (HEADER, line("1"), line("2"))]
    for count in (2, 4):
        assert (await operator.imports(*lines)).written.added == 2
        assert len(await storefront.rows("followers")) == count


async def test_a_known_key_keeps_its_row_and_what_the_file_does_not_name(
    operator: Operator, storefront: Storefront
) -> None:
    await operator.imports(HEADER, line("1"), line("2", "bob@x.co"))
    first = next(row for row in await storefront.rows("followers") if row["email"] != "bob@x.co")
    changed = await operator.imports(
        "key,seller_id,email,created_at", f"1,1,eve@x.co,{DAY.isoformat()}"
    )
    assert (changed.written.added, changed.written.changed) == (0, 1)
    rows = {row["id"]: row for row in await storefront.rows("followers")}
    expected = {**first, "email": "eve@x.co", "member_email": "eve@x.co"}
    assert rows[first["id"]] == expected
    assert {email for _, email in await storefront.members()} == {"eve@x.co", "bob@x.co"}


@pytest.mark.parametrize("batch", [2, 100])
async def test_of_a_key_that_comes_twice_the_last_line_wins(
    operator: Operator, storefront: Storefront, batch: int
) -> None:
    others = [line(str(number), f"fan{number}@x.co") for number in range(10, 15)]
    lines = [line("1", "first@x.co"), *others, line("1", "last@x.co"), line("2")]
    await operator.imports(HEADER, *lines, batch=batch)
    emails = {row["email"] for row in await storefront.rows("followers")}
    assert "last@x.co" in emails
    assert "first@x.co" not in emails


async def test_a_key_is_unique_per_seller_and_source(
    operator: Operator, storefront: Storefront
) -> None:
    await operator.imports(HEADER, line("1", seller=1), line("1", seller=2))
    await operator.imports(
        "seller_id,key,email,created_at", "1,1,ann@x.co,2026-03-01", source="affiliate"
    )
    assert len(await storefront.rows("followers")) == 2
    assert len(await storefront.rows("source_keys")) == 3


async def test_a_row_that_was_deleted_under_its_key_comes_back(
    operator: Operator, storefront: Storefront
) -> None:
    await operator.imports(HEADER, line("1"), line("2", "bob@x.co"))
    await storefront.connection.execute("DELETE FROM followers WHERE email = 'ann@x.co'")
    again = await operator.imports(HEADER, line("1"), line("2", "bob@x.co"))
    assert (again.written.added, again.written.changed) == (1, 0)
    assert len(await storefront.members()) == 2


async def test_a_higher_version_wins_whatever_the_order(
    operator: Operator, storefront: Storefront
) -> None:
    header = "version," + HEADER
    await operator.imports(header, "3," + line("1", "new@x.co"), "2," + line("1", "old@x.co"))
    late = await operator.imports(header, "1," + line("1", "older@x.co"), batch=1)
    assert late.written.rows == 0
    assert [row["email"] for row in await storefront.rows("followers")] == ["new@x.co"]


async def test_an_import_without_versions_leaves_newer_states_alone(
    operator: Operator, storefront: Storefront
) -> None:
    await operator.imports("version," + HEADER, "1," + line("1", "event@x.co"))
    await operator.imports(HEADER, line("1", "file@x.co"), line("2"))
    emails = {row["email"] for row in await storefront.rows("followers")}
    assert emails == {"event@x.co", "ann@x.co"}


async def test_nulls_take_the_default_where_the_table_takes_no_null(
    operator: Operator, storefront: Storefront
) -> None:
    header = "seller_id,email,created_at,state,can_contact,is_gift_sender,refunded,subscription_id"
    await operator.imports(header, "1,ann@x.co,2026-03-01,successful,,,,", source="customer")
    (row,) = await storefront.rows("purchases")
    assert (row["can_contact"], row["refunded"], row["subscription_id"]) == (None, None, None)
    assert row["is_gift_sender"] is False
    await operator.imports(
        "seller_id,email,created_at,kind,send_posts,product_count",
        "1,ann@x.co,2026-03-01,,,",
        source="affiliate",
    )
    (row,) = await storefront.rows("affiliates")
    assert (row["kind"], row["send_posts"], row["product_count"]) == ("direct", True, 1)


TIMES = {
    "2026-03-01": datetime(2026, 3, 1, tzinfo=UTC),
    "2026-03-01 10:20:30": datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC),
    "2026-03-01T10:20:30.5Z": datetime(2026, 3, 1, 10, 20, 30, 500_000, tzinfo=UTC),
    "2026-03-01 10:20:30+02": datetime(2026, 3, 1, 8, 20, 30, tzinfo=UTC),
    "2026-03-01T10:20:30-05:30": datetime(2026, 3, 1, 15, 50, 30, tzinfo=UTC),
}


async def test_times_without_a_zone_are_utc(operator: Operator, storefront: Storefront) -> None:
    lines = [f"{number},1,,{written}," for number, written in enumerate(TIMES)]
    await operator.imports(HEADER, *lines)
    rows = await storefront.rows("followers")
    assert {row["created_at"] for row in rows} == set(TIMES.values())


NO_TIME = "is no time such as 2026-11-22T13:54:05Z"
NO_NUMBER = "is no whole number that fits"

BAD = {
    "1,,ann@x.co,2026-03-01,": "seller_id: is missing",
    "1,0,ann@x.co,2026-03-01,": "seller_id: is not 1 or more",
    "1,1.5,ann@x.co,2026-03-01,": f"seller_id: {NO_NUMBER}",
    "1,9223372036854775808,ann@x.co,2026-03-01,": f"seller_id: {NO_NUMBER}",
    "1,1,ann@x.co,,": "created_at: is missing",
    "1,1,ann@x.co,infinity,": f"created_at: {NO_TIME}",
    "1,1,ann@x.co,now,": f"created_at: {NO_TIME}",
    "1,1,ann@x.co,03/01/2026,": f"created_at: {NO_TIME}",
    "1,1,ann@x.co,0000-00-00 00:00:00,": f"created_at: {NO_TIME}",
    "1,1,ann@x.co,2026-02-30,": f"created_at: {NO_TIME}",
    "1,1,ann@x.co,2026-03-01,yes": f"confirmed_at: {NO_TIME}",
    ",1,ann@x.co,2026-03-01,": "key: is missing",
    f"{'k' * 256},1,ann@x.co,2026-03-01,": "key: is longer than 255 characters",
    "1,1,ann@x.co": "has 3 cells where the header has 5",
    "1,1,ann@x.co,2026-03-01,,": "has 6 cells where the header has 5",
}


async def test_bad_lines_are_named_and_the_others_written(
    operator: Operator, storefront: Storefront
) -> None:
    imported = await operator.imports(HEADER, *BAD, line("good"))
    assert operator.rejected == [
        f"line {number}: {reason}" for number, reason in enumerate(BAD.values(), 2)
    ]
    assert (imported.rejected, imported.written.added) == (len(BAD), 1)
    assert len(await storefront.rows("followers")) == 1


async def test_wrong_values_of_a_purchase_are_named(operator: Operator) -> None:
    header = "seller_id,email,created_at,state,can_contact,subscription_id"
    start = "1,ann@x.co,2026-03-01"
    await operator.imports(
        header, f"{start},,,", f"{start},successful,maybe,", f"{start},x,,y", source="customer"
    )
    assert operator.rejected == [
        "line 2: state: is missing",
        "line 3: can_contact: is neither true nor false",
        f"line 4: subscription_id: {NO_NUMBER}",
    ]


async def test_a_dry_run_checks_and_writes_nothing(
    operator: Operator, storefront: Storefront
) -> None:
    imported = await operator.imports(HEADER, line("1"), "2,x,,,", is_dry=True)
    assert (imported.records, imported.rejected, imported.written.rows) == (2, 1, 0)
    assert await storefront.rows("followers") == await storefront.rows("source_keys") == []


HEADERS = {
    "": "The file is empty",
    "seller_id,email,created_at,shoe_size": "no column 'shoe_size'",
    "seller_id;email;created_at;shoe_size": "no column 'shoe_size'",
    "seller_id|email|created_at": r"no column 'seller_id\|email\|created_at'",
    "id,seller_id,email,created_at": "The column id is made here",
    "seller_id,email,created_at,member_email": "no column 'member_email'",
    "seller_id,email,email,created_at": "email is named twice",
    "email,created_at": "seller_id is missing",
    "seller_id,created_at": "email is missing",
    "seller_id,email": "created_at is missing",
    "version,seller_id,email,created_at": "A version needs a key",
    'seller_id,"email': "The first line is no CSV",
}


@pytest.mark.parametrize("header", HEADERS)
async def test_a_header_that_does_not_fit_is_refused(operator: Operator, header: str) -> None:
    with pytest.raises(InvalidImportFile, match=HEADERS[header]):
        await operator.imports(header)


async def test_a_purchase_needs_its_state(operator: Operator) -> None:
    with pytest.raises(InvalidImportFile, match="state is missing"):
        await operator.imports("seller_id,email,created_at", source="customer")


async def test_stopping_half_way_keeps_whole_batches_and_repeating_completes_them(
    operator: Operator,
    storefront: Storefront,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [line(str(number), f"fan{number}@x.co") for number in range(12)]

    def stop(imported: ImportProgress, _: list[RejectedLine]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(operator, "_save_rejected", stop)
    with pytest.raises(KeyboardInterrupt):
        await operator.imports(HEADER, *lines)
    assert len(await storefront.rows("followers")) == 3
    monkeypatch.undo()
    again = await operator.imports(HEADER, *lines)
    assert again.written.added == 9
    assert len(await storefront.members()) == 12


async def test_an_import_without_a_database_says_so() -> None:
    with pytest.raises(DatabaseUnavailable):
        await Operator("postgresql://127.0.0.1:9/nowhere").imports(HEADER, line("1"))


async def test_streams_that_change_each_others_people_all_succeed(
    operator: Operator, storefront: Storefront
) -> None:
    """Every row moves to another's address: the streams lock the same members crosswise."""
    count = 200

    def moved(by: int) -> list[str]:
        return [line(str(each), f"fan{(each + by) % count}@x.co") for each in range(count)]

    for by in (0, 1, 77):
        await operator.imports(HEADER, *moved(by), streams=4, batch=count)
    emails = {row["email"] for row in await storefront.rows("followers")}
    assert emails == {f"fan{each}@x.co" for each in range(count)}
    assert len(await storefront.members()) == count
    assert {date["follower"] for date in (await storefront.members()).values()} == {CUT}


async def test_rows_without_a_usable_address_are_stored_and_counted(
    operator: Operator, storefront: Storefront
) -> None:
    addresses = ["ann@x.co", "no address", "", "a..b@x.co", " bob@x.co ", "münchen@example"]
    lines = [line(str(number), address) for number, address in enumerate(addresses)]
    imported = await operator.imports(HEADER, *lines, ",,,,", batch=2)
    assert (imported.rejected, imported.written.added) == (0, 6)
    assert (imported.unusable, imported.unusable_lines) == (4, [3, 4, 5, 7])
    assert len(await storefront.rows("followers")) == 6
    assert {email for _, email in await storefront.members()} == {"ann@x.co", "bob@x.co"}


async def test_the_first_hundred_lines_without_an_address_are_named(operator: Operator) -> None:
    lines = [line(str(number), "none") for number in range(130)]
    imported = await operator.imports(HEADER, *lines, batch=40)
    assert (imported.unusable, imported.unusable_lines) == (130, list(range(2, 102)))


async def test_rows_of_empty_cells_are_passed_over(
    operator: Operator, storefront: Storefront
) -> None:
    empty = [",,,,", " , ,,,", ",", '"",,,,', ""]
    imported = await operator.imports(HEADER, *empty, line("1"), *empty)
    assert (imported.records, imported.rejected, operator.rejected) == (1, 0, [])


@pytest.mark.parametrize("delimiter", [";", "\t"])
async def test_other_separators_are_read(
    operator: Operator, storefront: Storefront, delimiter: str
) -> None:
    lines = [each.replace(",", delimiter) for each in (HEADER, line("1"), line("2", "bob@x.co"))]
    imported = await operator.imports(*lines)
    assert (imported.rejected, imported.written.added) == (0, 2)
    assert {email for _, email in await storefront.members()} == {"ann@x.co", "bob@x.co"}
