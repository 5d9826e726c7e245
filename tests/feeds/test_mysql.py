"""The page's feed from MySQL, against a real MariaDB and the API."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devstack.sandbox import Sandbox, free_port
from devstack.service_processes import ROOT, start_api
from tests.audience.storefront import Storefront
from tests.feeds.mariadb import MariadbServer

PAGE = (ROOT / "docs" / "mysql.md").read_text()
TABLES, TRIGGERS, EXISTING = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(FEED,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

BEFORE = """
    INSERT INTO users (id, email) VALUES (1, 'ann@example.com'), (2, 'bob@example.com');
    INSERT INTO follows (id, shop_id, user_id, since, is_confirmed)
        VALUES (1, 7, 1, '2025-03-01 10:00:00', TRUE), (2, 7, 2, '2025-03-02 10:00:00', FALSE);
    INSERT INTO orders (id, shop_id, buyer_id, placed_at, is_paid, is_refunded)
        VALUES (1, 7, 2, '2025-06-01 08:00:00', TRUE, FALSE),
               (2, 8, 1, '2025-06-02 08:00:00', FALSE, FALSE);
"""

MARCH = {"follower": datetime(2025, 3, 1, 10, tzinfo=UTC)}
FIRST_OF_JUNE = {"customer": datetime(2025, 6, 1, 8, tzinfo=UTC)}
SECOND_OF_JUNE = {"customer": datetime(2025, 6, 2, 8, tzinfo=UTC)}

pytestmark = pytest.mark.mariadb


@dataclass(frozen=True)
class Shop:
    """A storefront on MariaDB, and the page's program that feeds from it."""

    database: MariadbServer
    folder: Path
    api_url: str
    secret: str

    def feed(self) -> None:
        """Send what is noted."""
        names = {
            "SHOP_DATABASE": self.database.url,
            "API_URL": self.api_url,
            "AUTH_JWT_SECRET": self.secret,
        }
        command = [sys.executable, "feed.py", "--once"]
        ran = subprocess.run(
            command, cwd=self.folder, env=os.environ | names, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr


@pytest.fixture
def shop(sandbox: Sandbox, service_environment: dict[str, str], tmp_path: Path) -> Iterator[Shop]:
    """A shop with rows from before the triggers, all of them noted."""
    database = MariadbServer(sandbox)
    database.execute("CREATE DATABASE shop", database=None)
    for statements in (TABLES, BEFORE, TRIGGERS, EXISTING):
        database.execute(statements)
    (tmp_path / "feed.py").write_text(FEED)
    port = free_port()
    api = start_api(sandbox, service_environment, port)
    yield Shop(
        database, tmp_path, f"http://127.0.0.1:{port}", service_environment["AUTH_JWT_SECRET"]
    )
    api.stop()


async def test_the_audience_follows_a_shop_on_mariadb(shop: Shop, storefront: Storefront) -> None:
    shop.feed()
    assert await storefront.members() == {
        (7, "ann@example.com"): MARCH,
        (7, "bob@example.com"): FIRST_OF_JUNE,
    }

    # A joined row, a row that changes its seller, one that is paid, one that is deleted, one that
    # cannot be applied.
    shop.database.execute("""
        UPDATE users SET email = 'anna@example.com' WHERE id = 1;
        UPDATE orders SET shop_id = 9 WHERE id = 1;
        UPDATE orders SET is_paid = TRUE WHERE id = 2;
        DELETE FROM follows WHERE id = 2;
        INSERT INTO orders (id, shop_id, buyer_id, placed_at, is_paid, is_refunded)
            VALUES (3, 0, 1, '2025-06-01 08:00:00', TRUE, FALSE);
    """)
    shop.feed()
    assert await storefront.members() == {
        (7, "anna@example.com"): MARCH,
        (8, "anna@example.com"): SECOND_OF_JUNE,
        (9, "bob@example.com"): FIRST_OF_JUNE,
    }
    ((line, reason),) = shop.database.execute("SELECT line, reason FROM audience_refused")
    assert '"key": "3"' in str(line)
    assert "seller_id" in str(reason)
    assert shop.database.execute("SELECT * FROM audience_changes") == []

    with shop.database.connect() as slow, slow.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE users SET email = 'first@example.com' WHERE id = 1")
        shop.database.execute("UPDATE users SET email = 'second@example.com' WHERE id = 2")
        shop.feed()
        assert (9, "second@example.com") in await storefront.members()
        cursor.execute("COMMIT")
    shop.feed()
    members = await storefront.members()
    assert (7, "first@example.com") in members, "noted under a lower id, committed later"
    assert (9, "second@example.com") in members
