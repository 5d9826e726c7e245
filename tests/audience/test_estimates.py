"""Estimates: from the audience's server, else from the primary, else none, and soon."""

import pytest

from app.audience import estimates
from app.audience.estimates import COUNT_SAMPLE, EXACT_MEMBERS, estimate_rows, estimate_rows_or_none
from app.audience.key_ranges import SAMPLE_SHARE
from app.audience.merge import Merge
from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.exports.submission.submit import submit_export
from tests.audience.storefront import Storefront
from tests.exports.conftest import (
    database,
    database_proxy,
    database_via_proxy,
    make_request,
    settings,
)
from tests.proxy import Close, Hang, Proxy

__all__ = ["database", "database_proxy", "database_via_proxy", "settings"]

FOLLOWERS = Merge(1, ("follower",))

SELLERS = {1: 120_000, 2: 60_000, 3: 30_000, 4: EXACT_MEMBERS} | {
    seller: 10 * (seller % 30) for seller in range(5, 200)
}
"""How many members each of them has; all are followers, one in four is an affiliate too."""

FILL = """
    INSERT INTO audience_members (seller_id, email, follower_since, affiliate_since)
    SELECT
        seller_id, 'person' || number || '@seller' || seller_id || '.example', now(),
        CASE WHEN number % 4 = 0 THEN now() END
    FROM unnest($1::bigint[], $2::bigint[]) AS sellers (seller_id, members)
    CROSS JOIN generate_series(1, members) AS number
"""


async def test_an_unreachable_replica_refuses_no_export(
    database_via_proxy: Database,
    database_proxy: Proxy,
    database: Database,
    settings: Settings,
    storefront: Storefront,
) -> None:
    await storefront.follow("ann@x.co")
    await database_proxy.stop()
    result = await submit_export(database, database_via_proxy, settings, make_request(), None)
    assert (result.export.rows_estimated, result.export.lane) == (1, "small")


async def test_a_hanging_replica_is_not_waited_for(
    database_via_proxy: Database,
    database_proxy: Proxy,
    database: Database,
    storefront: Storefront,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await storefront.follow("ann@x.co")
    assert await estimate_rows_or_none(database_via_proxy, database, FOLLOWERS) == 1
    hang = database_proxy.fault(Hang(), times=None)
    monkeypatch.setattr(estimates, "ESTIMATE_TIMEOUT_S", 0.5)
    assert await estimate_rows_or_none(database_via_proxy, database, FOLLOWERS) in (1, None)
    assert hang.struck


async def test_what_nobody_can_estimate_is_unknown(
    database_via_proxy: Database, database_proxy: Proxy, database: Database
) -> None:
    database_proxy.fault(Close(), times=None)
    assert await estimate_rows_or_none(database_via_proxy, database_via_proxy, FOLLOWERS) is None
    assert (
        await estimate_rows_or_none(database_via_proxy, database, FOLLOWERS) is None
    )  # it knows of nobody
    assert await estimate_rows_or_none(database, database, FOLLOWERS) == 0


async def test_large_is_known_to_be_large_whatever_the_planner_knows_of_the_seller(
    database: Database, connection: Connection
) -> None:
    """Within three standard deviations of a random sample: 10 % each for 100,000 rows."""
    await connection.execute(FILL, list(SELLERS), list(SELLERS.values()))
    await connection.execute(
        "VACUUM audience_members"
    )  # its pages are visible, its sellers unknown
    for seller, members in SELLERS.items():
        for source, rows in (("follower", members), ("affiliate", members // 4)):
            estimated = await estimate_rows(database, Merge(seller, (source,)))
            error = abs(estimated - rows)
            assert (
                error < 3 * (SAMPLE_SHARE * rows) ** 0.5 if members > EXACT_MEMBERS else not error
            )
    sample = COUNT_SAMPLE.format(selected="affiliate_since IS NOT NULL").replace(":seller_id", "1")
    plan = await connection.fetch(f"EXPLAIN {sample}")
    assert any("Index Only Scan using audience_members_sample_idx" in row[0] for row in plan)
