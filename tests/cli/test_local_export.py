"""A list copied by an operator: no byte of it before its audit entry."""

import asyncio
import os
import pwd
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from app.audience.merge import Merge
from app.cli.common import OutputFailed
from app.cli.local_export import FileSink, export_to_file
from app.config import Settings
from app.database.connections import Connection, connect, create_engine
from app.database.database import Database
from app.exports.audit import list_entries
from app.models import FileOptions
from tests.audience.storefront import Storefront

MERGE = Merge(1, ("follower",), FileOptions(columns=("email", "sources"), spreadsheet_safe=False))


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


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """The process's umask, changed for one test once ``tmp_path`` has been made."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes_of_others(output: Path) -> list[int]:
    """Return the modes of the files beside ``output``."""
    return [path.stat().st_mode & 0o777 for path in output.parent.iterdir() if path != output]


@pytest.mark.usefixtures("umask")
async def test_a_copied_list_is_for_its_owner_only_from_its_first_byte(
    settings: Settings,
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await Storefront(connection).follow("ann@x.co")
    seen: list[int] = []
    write = FileSink.write

    async def look(sink: FileSink, data: bytes) -> None:
        seen.extend(modes_of_others(output))
        await write(sink, data)

    monkeypatch.setattr(FileSink, "write", look)
    output = tmp_path / "list.csv"
    output.touch()
    output.chmod(0o666)
    await export_to_file(settings, MERGE, output)
    assert set(seen) == {0o600}
    assert output.stat().st_mode & 0o777 == 0o600
    assert output.read_bytes().startswith(b"Email,Sources\nann@x.co,")


async def test_a_copied_list_is_not_written_through_a_file_that_somebody_laid_in_its_way(
    settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    await Storefront(connection).follow("ann@x.co")
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / f".list.csv.{os.getpid()}").symlink_to(elsewhere)
    await export_to_file(settings, MERGE, tmp_path / "list.csv")
    assert not elsewhere.exists()


async def test_a_named_pipe_is_written_to_and_stays_one(
    settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    await Storefront(connection).follow("ann@x.co")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
    await export_to_file(settings, MERGE, pipe)
    assert (await reading).startswith(b"Email,Sources\nann@x.co,")
    assert pipe.is_fifo()


async def test_a_full_device_is_told_as_one_and_stays_what_it_is(
    settings: Settings, tmp_path: Path
) -> None:
    device = tmp_path / "full"
    device.symlink_to("/dev/full")
    with pytest.raises(OutputFailed, match="No space left on device"):
        await export_to_file(settings, MERGE, device)
    assert device.is_char_device()
    assert os.listdir(tmp_path) == ["full"]


async def test_a_copied_list_is_audited_with_who_took_it_and_what(
    settings: Settings, connection: Connection, tmp_path: Path
) -> None:
    await Storefront(connection).follow("ann@x.co")
    copied = await export_to_file(settings, MERGE, tmp_path / "list.csv")
    database = Database(create_engine(settings.database_url, pool_size=1))
    [entry] = await list_entries(database, copied.audit_id, limit=9, before=None)
    await database.close()
    assert copied.rows == 1
    assert (entry.action, entry.recipient_email) == ("exported_locally", None)
    assert entry.actor == pwd.getpwuid(os.getuid()).pw_name
    assert entry.details == {
        "sources": ["follower"],
        "columns": ["email", "sources"],
        "spreadsheet_safe": False,
        "bom": False,
        "format": "csv",
        "delimiter": ",",
        "locale": "en",
        "timezone": "UTC",
        "joined_after": None,
        "joined_before": None,
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
        with pytest.raises(asyncpg.UndefinedTableError):
            await export_to_file(settings, MERGE, output)
    assert os.listdir(tmp_path) == []
    assert capfdbinary.readouterr().out == b""
