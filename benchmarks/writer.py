"""A storefront that writes at a steady rate until it is stopped: ``python -m benchmarks.writer``.

Each tick brings purchases of members all over the table and of the seller
that is measured, and moves the date of some earlier purchase.
"""

import argparse
import asyncio

import asyncpg
import uvloop

from benchmarks.crowd import MEASURED_ROWS, PURCHASES

TICK_S = 0.1
DRAWN = 10
"""Places drawn in each tick, of the measured seller and of all."""

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
    """Write until cancelled; a tick that is late is not made up for."""
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
    """Write until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writer", description=__doc__)
    parser.add_argument("database_url")
    parser.add_argument("members", type=int)
    arguments = parser.parse_args()
    uvloop.run(write(arguments.database_url, arguments.members))


if __name__ == "__main__":
    main()
