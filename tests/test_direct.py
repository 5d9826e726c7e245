"""A list copied by an operator: no byte of it before its audit entry."""

import os
import pwd
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from app.audience.merge import Merge
from app.config import Settings
from app.database import Connection, connect, create_engine
from app.direct import copy_to_file
from app.exports.audit import list_entries
from tests.audience.storefront import Storefront

MERGE = Merge(1, ("follower",), ("email", "sources"), spreadsheet_safe=False)


@pytest.fixture
def settings(service_environment: dict[str, str]) -> Settings:
    """The service's settings for this test's own servers."""
    values = {name.lower(): value for name, value in service_environment.items() if value}
    return Settings.model_validate(values)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """One connection to the test's own database."""
    connection = await connect(database_url)
    yield connection
    await connection.close()


async def test_a_copied_list_is_audited_with_who_took_it_and_what(
    settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    await Storefront(connection).follow("ann@x.co")
    rows, copy_id = await copy_to_file(settings, MERGE, tmp_path / "list.csv")
    engine = create_engine(settings.database_url, pool_size=1)
    [entry] = await list_entries(engine, copy_id, limit=9, before=None)
    await engine.dispose()
    assert rows == 1
    assert (entry.action, entry.recipient_email) == ("copied", None)
    assert entry.actor == pwd.getpwuid(os.getuid()).pw_name
    assert entry.details == {
        "sources": ["follower"],
        "columns": ["email", "sources"],
        "spreadsheet_safe": False,
        "bom": False,
        "host": socket.gethostname(),
    }


async def test_no_list_is_copied_without_an_entry(
    settings: Settings,
    connection: Connection,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    await Storefront(connection).follow("ann@x.co")
    await connection.execute("ALTER TABLE export_audit RENAME TO away")
    for output in (tmp_path / "list.csv", Path("-")):
        with pytest.raises(DBAPIError):
            await copy_to_file(settings, MERGE, output)
    assert os.listdir(tmp_path) == []
    assert capfdbinary.readouterr().out == b""
