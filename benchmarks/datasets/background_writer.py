"""Writes like a storefront, at a steady rate until stopped: ``python -m
benchmarks.datasets.background_writer``.

Each tick inserts purchases by members across the table and of the measured seller, and
changes the date of some earlier purchases.
"""

import argparse
import asyncio

import asyncpg
import uvloop

from benchmarks.datasets.skewed_members import MEASURED_ROWS, PURCHASES

TICK_S = 0.1
DRAWN = 10
"""Random positions per tick, within the measured seller and within all members."""

MOVED = """
    UPDATE purchases
    SET created_at = created_at - INTERVAL '1 day'
    WHERE (seller_id, id) IN (
        SELECT seller_id, id
        FROM purchases
        ORDER BY random()
        LIMIT 5
    )
"""


async def write(database_url: str, members: int) -> None:
    """Write until cancelled; a late tick is not caught up."""
    connection = await asyncpg.connect(database_url, timeout=60)
    try:
        while True:
            await connection.execute(PURCHASES, DRAWN, 0, MEASURED_ROWS)
            await connection.execute(PURCHASES, DRAWN, 0, members)
            await connection.execute(MOVED)
            await asyncio.sleep(TICK_S)
    finally:
        connection.terminate()


def main() -> None:
    """Write until the process gets a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.datasets.background_writer", description=__doc__
    )
    parser.add_argument("database_url")
    parser.add_argument("members", type=int)
    arguments = parser.parse_args()
    uvloop.run(write(arguments.database_url, arguments.members))


if __name__ == "__main__":
    main()
