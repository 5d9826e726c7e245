"""Every way to write a source row projects it."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.database.connections import Connection
from tests.audience.storefront import CUT, CUT_LATER, DAY, LATER, SELLER, Storefront


async def test_a_changed_address_moves_the_member(storefront: Storefront) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.change("followers", row_id, email="B@x.co")
    assert await storefront.members() == {(SELLER, "b@x.co"): {"follower": CUT}}


async def test_an_address_changed_to_an_invalid_one_removes_the_member(
    storefront: Storefront,
) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.change("followers", row_id, email="a@x")
    assert await storefront.members() == {}


async def test_a_changed_address_leaves_the_date_of_the_other_rows(storefront: Storefront) -> None:
    row_id = await storefront.buy("a@x.co")
    await storefront.buy("a@x.co", created_at=LATER)
    await storefront.change("purchases", row_id, email="b@x.co")
    assert await storefront.members() == {
        (SELLER, "a@x.co"): {"customer": CUT_LATER},
        (SELLER, "b@x.co"): {"customer": CUT},
    }


async def test_two_rows_may_swap_their_addresses(storefront: Storefront) -> None:
    await storefront.buy("a@x.co")
    await storefront.buy("b@x.co", created_at=LATER)
    await storefront.connection.execute(
        "UPDATE purchases SET email = CASE email WHEN 'a@x.co' THEN 'b@x.co' ELSE 'a@x.co' END"
    )
    assert await storefront.members() == {
        (SELLER, "a@x.co"): {"customer": CUT_LATER},
        (SELLER, "b@x.co"): {"customer": CUT},
    }


async def test_a_row_may_go_to_another_seller(storefront: Storefront) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.change("followers", row_id, seller_id=2)
    assert await storefront.members() == {(2, "a@x.co"): {"follower": CUT}}


@pytest.mark.parametrize("shift", [timedelta(days=-1), timedelta(days=1)])
async def test_a_changed_date_moves_the_members_date(
    storefront: Storefront, shift: timedelta
) -> None:
    row_id = await storefront.follow("a@x.co")
    await storefront.change("followers", row_id, created_at=DAY + shift)
    assert await storefront.members() == {(SELLER, "a@x.co"): {"follower": CUT + shift}}


async def test_dates_are_cut_to_the_second_before_the_epoch_too(storefront: Storefront) -> None:
    await storefront.follow("a@x.co", created_at=datetime(1969, 1, 1, 1, 1, 1, 900_000, UTC))
    assert await storefront.members() == {
        (SELLER, "a@x.co"): {"follower": datetime(1969, 1, 1, 1, 1, 1, tzinfo=UTC)}
    }


async def test_an_update_that_changes_nothing_of_interest_leaves_the_member_untouched(
    storefront: Storefront,
) -> None:
    row_id = await storefront.subscribe("a@x.co")
    before = await storefront.connection.fetchval("SELECT xmin::text FROM audience_members")
    await storefront.change("purchases", row_id, refunded=True, email="A@X.co")
    after = await storefront.connection.fetchval("SELECT xmin::text FROM audience_members")
    assert after == before


async def test_many_rows_of_one_address_in_one_statement_make_one_member(
    storefront: Storefront,
) -> None:
    await storefront.connection.execute(
        """
        INSERT INTO purchases (seller_id, email, created_at, state)
        SELECT 1, 'Buyer' || number % 3 || '@x.co', $1::timestamptz + number * '1 day'::interval,
            'successful'
        FROM generate_series(0, 8) AS number
        """,
        DAY,
    )
    assert await storefront.members() == {
        (SELLER, f"buyer{number}@x.co"): {"customer": CUT + timedelta(days=number)}
        for number in range(3)
    }


async def test_many_rows_changed_by_one_statement_are_all_projected(
    storefront: Storefront,
) -> None:
    for number in range(4):
        await storefront.buy(f"{number}@x.co")
    await storefront.connection.execute(
        "UPDATE purchases SET refunded = true WHERE email IN ('1@x.co', '3@x.co')"
    )
    assert await storefront.addresses() == ["0@x.co", "2@x.co"]


async def test_many_rows_deleted_by_one_statement_are_all_projected(
    storefront: Storefront,
) -> None:
    for number in range(4):
        await storefront.buy(f"{number % 2}@x.co")
    await storefront.connection.execute("DELETE FROM purchases WHERE email = '1@x.co'")
    assert await storefront.addresses() == ["0@x.co"]


async def test_an_upsert_projects_what_it_inserts_and_what_it_updates(
    storefront: Storefront,
) -> None:
    row_id = await storefront.follow("old@x.co")
    await storefront.connection.execute(
        """
        INSERT INTO followers (seller_id, id, email, created_at, confirmed_at)
        VALUES (1, $1, 'changed@x.co', $2, $2), (1, $1 + 1, 'new@x.co', $2, $2)
        ON CONFLICT (seller_id, id) DO UPDATE SET email = excluded.email
        """,
        row_id,
        DAY,
    )
    assert await storefront.addresses() == ["changed@x.co", "new@x.co"]


async def test_an_insert_that_conflicts_and_does_nothing_projects_nothing(
    storefront: Storefront,
) -> None:
    row_id = await storefront.follow("old@x.co")
    await storefront.connection.execute(
        """
        INSERT INTO followers (seller_id, id, email, created_at, confirmed_at)
        VALUES (1, $1, 'new@x.co', now(), now())
        ON CONFLICT DO NOTHING
        """,
        row_id,
    )
    assert await storefront.addresses() == ["old@x.co"]


async def test_a_merge_projects_its_inserts_updates_and_deletes(storefront: Storefront) -> None:
    changed = await storefront.follow("old@x.co")
    deleted = await storefront.follow("gone@x.co")
    await storefront.connection.execute(
        """
        MERGE INTO followers
        USING (VALUES ($1::bigint, 'changed@x.co'), ($2, NULL), (0, 'new@x.co')) AS feed (id, email)
        ON followers.seller_id = 1 AND followers.id = feed.id
        WHEN MATCHED AND feed.email IS NULL THEN DELETE
        WHEN MATCHED THEN UPDATE SET email = feed.email
        WHEN NOT MATCHED THEN
            INSERT (seller_id, email, created_at, confirmed_at)
            VALUES (1, feed.email, now(), now())
        """,
        changed,
        deleted,
    )
    assert await storefront.addresses() == ["changed@x.co", "new@x.co"]


async def test_copy_projects_every_row(storefront: Storefront) -> None:
    await storefront.connection.copy_records_to_table(
        "affiliates",
        columns=["seller_id", "email", "created_at"],
        records=[(SELLER, f"{number}@x.co", DAY) for number in range(1000)],
    )
    assert len(await storefront.addresses()) == 1000


async def test_truncate_removes_who_was_in_that_source_alone(storefront: Storefront) -> None:
    await storefront.follow("a@x.co")
    await storefront.follow("both@x.co")
    await storefront.buy("both@x.co", created_at=LATER)
    await storefront.connection.execute("TRUNCATE followers")
    assert await storefront.members() == {(SELLER, "both@x.co"): {"customer": CUT_LATER}}


async def test_truncating_every_source_leaves_nobody(storefront: Storefront) -> None:
    await storefront.follow("a@x.co")
    await storefront.buy("a@x.co")
    await storefront.refer("b@x.co")
    await storefront.connection.execute("TRUNCATE followers, purchases, affiliates")
    assert await storefront.members() == {}


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_truncate_is_refused_where_its_snapshot_may_be_too_old(
    storefront: Storefront, isolation: str
) -> None:
    with pytest.raises(asyncpg.FeatureNotSupportedError, match="needs READ COMMITTED"):
        async with storefront.connection.transaction(isolation=isolation):
            await storefront.connection.execute("TRUNCATE followers")


async def test_a_rolled_back_change_leaves_the_members_as_they_were(
    storefront: Storefront, connection: Connection
) -> None:
    await storefront.follow("a@x.co")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("DELETE FROM followers")
    await storefront.follow("b@x.co")
    await transaction.rollback()
    assert await storefront.addresses() == ["a@x.co"]


async def test_changes_project_with_an_empty_search_path(storefront: Storefront) -> None:
    await storefront.connection.execute("SET search_path = ''")
    await storefront.connection.execute(
        "INSERT INTO public.followers (seller_id, email, created_at, confirmed_at)"
        " VALUES (1, 'a@x.co', now(), now()), (1, 'b@x.co', now(), now())"
    )
    await storefront.connection.execute("UPDATE public.followers SET email = 'c@x.co' WHERE id = 1")
    await storefront.connection.execute("DELETE FROM public.followers WHERE id = 2")
    await storefront.connection.execute("RESET search_path")
    assert await storefront.addresses() == ["c@x.co"]


async def test_a_plan_made_for_few_rows_does_not_scan_many(
    storefront: Storefront, connection: Connection
) -> None:
    row_id = await storefront.buy("first@x.co")
    await connection.execute("VACUUM ANALYZE purchases, audience_members")
    await storefront.change("purchases", row_id, email="second@x.co")
    await connection.copy_records_to_table(
        "purchases",
        columns=["seller_id", "email", "created_at", "state"],
        records=[(SELLER, f"{number}@x.co", DAY, "successful") for number in range(999)],
    )
    before = await rows_read(connection)
    await connection.execute("UPDATE purchases SET created_at = created_at - '1 day'::interval")
    assert await rows_read(connection) - before < 10 * 1000


async def rows_read(connection: Connection) -> int:
    """Return how many rows of both tables were read, by scans of either kind."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    read: int = await connection.fetchval(
        """
        SELECT (
            (SELECT sum(seq_tup_read) FROM pg_stat_user_tables
                WHERE relname IN ('purchases', 'audience_members'))
            + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
                WHERE relname IN ('purchases', 'audience_members'))
        )::bigint
        """
    )
    return read
