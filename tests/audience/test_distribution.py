"""The schema can be spread over servers by seller."""

from app.database import connect

MISPLACED = """
    SELECT pg_get_indexdef(indexrelid)
    FROM pg_index
    JOIN pg_attribute AS seller ON seller.attrelid = indrelid AND seller.attname = 'seller_id'
    JOIN pg_class AS tables ON tables.oid = indrelid
    WHERE tables.relnamespace = 'public'::regnamespace
        AND (indisunique OR indisexclusion)
        AND indkey[0] <> seller.attnum
"""

WITHOUT_SELLER = """
    SELECT relname
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'seller_id'
        )
    ORDER BY relname
"""

OF_THE_SERVICE = ["alembic_version", "export_days", "export_durations", "projection_verifications"]
"""Statistics and the schema's age: about no seller, read on no export's way."""


async def test_every_unique_index_begins_with_the_seller(database_url: str) -> None:
    connection = await connect(database_url)
    misplaced = await connection.fetch(MISPLACED)
    without = await connection.fetch(WITHOUT_SELLER)
    await connection.close()
    assert [row[0] for row in misplaced] == []
    assert [row[0] for row in without] == OF_THE_SERVICE
