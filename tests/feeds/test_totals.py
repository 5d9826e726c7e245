"""What imports did is added up where Prometheus can read it."""

from pathlib import Path

import pytest

from app.audience.sources import SOURCES_BY_KEY
from app.cli.import_file import import_file
from app.config import Settings
from app.database.connections import create_engine
from app.database.database import Database
from app.feeds.totals import read_import_counters
from tests.audience.storefront import Storefront

LINES = """\
key,seller_id,email,created_at
1,1,ann@x.co,2026-03-01
2,1,bob@x.co,2026-03-01
3,none,cid@x.co,2026-03-01
"""


@pytest.fixture
def settings(service_environment: dict[str, str]) -> Settings:
    """The service's settings for this test's own servers."""
    values = {name.lower(): value for name, value in service_environment.items() if value}
    return Settings.model_validate(values)


async def totals(settings: Settings) -> object:
    database = Database(create_engine(settings.database_url, pool_size=1))
    counters = await read_import_counters(database)
    await database.close()
    return counters["imported_rows_total"]


async def imports(settings: Settings, file: Path, *, is_dry: bool = False) -> None:
    await import_file(settings, SOURCES_BY_KEY["follower"], file, streams=1, is_dry=is_dry)


async def test_all_imports_add_up_and_dry_runs_do_not(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "followers.csv"
    file.write_text(LINES)
    assert await totals(settings) == {}
    await imports(settings, file, is_dry=True)
    assert await totals(settings) == {}
    await imports(settings, file)
    assert await totals(settings) == {"added": 2, "changed": 0, "rejected": 1}
    file.write_text(LINES.replace("ann@", "anna@"))
    await imports(settings, file)
    assert await totals(settings) == {"added": 2, "changed": 1, "rejected": 2}


async def test_an_import_that_cannot_be_counted_has_been_made(
    settings: Settings, storefront: Storefront, tmp_path: Path
) -> None:
    file = tmp_path / "followers.csv"
    file.write_text(LINES)
    await storefront.connection.execute("DROP TABLE import_totals")
    await imports(settings, file)
    assert len(await storefront.rows("followers")) == 2
