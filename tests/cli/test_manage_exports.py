"""``audience-export exports``: operators find, explain, cancel, delete and retry without SQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from app.adapters.s3.storage import open_storage
from app.cli.app import app
from app.cli.common import operating_user
from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.exports.execution.exporter import Exporter
from app.models import Export
from app.ports import ObjectStorage
from tests.exports.conftest import connection as connection
from tests.exports.conftest import create_export as create_export
from tests.exports.conftest import database as database
from tests.exports.conftest import export_events as export_events
from tests.exports.conftest import exporter as exporter
from tests.exports.conftest import fast_settings as fast_settings
from tests.exports.conftest import queue as queue
from tests.exports.conftest import reload
from tests.exports.conftest import settings as settings
from tests.exports.submission.test_retry import FAILED

Ask = Callable[..., Awaitable[Export]]
Run = Callable[..., Awaitable[Result]]


def last_line(done: Result) -> str:
    """Return what the command printed; the tests' log lines come before it."""
    return str(done.stdout.splitlines()[-1])


@pytest.fixture
def run(service_environment: dict[str, str]) -> Run:
    """Run ``audience-export exports`` with arguments."""

    async def run(*arguments: Any) -> Result:
        command = ["exports", *map(str, arguments)]
        invoke = partial(CliRunner().invoke, app, command, env=service_environment)
        return await asyncio.to_thread(invoke)

    return run


@pytest.fixture
async def storage(settings: Settings) -> AsyncIterator[ObjectStorage]:
    """The bucket that the command uses."""
    async with open_storage(settings) as storage:
        yield storage


@pytest.fixture
def make_file(create_export: Ask, exporter: Exporter) -> Ask:
    """Make an export that succeeds."""

    async def make_file(**changes: Any) -> Export:
        export = await create_export(**changes)
        running = await exporter.claim(export.key)
        assert running is not None
        ended = (await exporter.run(running)).export
        assert ended is not None
        return ended

    return make_file


@pytest.fixture
async def failed(create_export: Ask, connection: Connection, database: Database) -> Export:
    """A failed export of seller 1, beside a queued one of seller 2."""
    export = await create_export()
    await connection.execute(FAILED)
    await create_export(seller_id=2)
    return await reload(database, export)


@pytest.mark.parametrize(
    ("filters", "sellers"),
    [
        ((), [2, 1]),
        (("--status", "failed"), [1]),
        (("--code", "storage_unavailable"), [1]),
        (("--code", "internal"), []),
        (("--seller", 2), [2]),
        (("--since", "2h"), [2, 1]),
        (("--status", "failed", "--code", "storage_unavailable", "--since", "2h"), [1]),
    ],
)
async def test_the_list_is_filtered(
    failed: Export, run: Run, filters: tuple[Any, ...], sellers: list[int]
) -> None:
    done = await run("list", *filters, "--json")
    assert done.exit_code == 0, done.output
    assert [each["seller_id"] for each in json.loads(done.stdout)] == sellers


async def test_what_ended_long_ago_is_not_recent(
    failed: Export, run: Run, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET finished_at = finished_at - interval '3 hours'")
    done = await run("list", "--seller", 1, "--since", "2h", "--json")
    assert json.loads(done.stdout) == []


async def test_a_line_says_what_happened(failed: Export, run: Run) -> None:
    done = await run("list", "--status", "failed")
    [line] = done.stdout.splitlines()
    for part in (str(failed.id), "failed", "seller=1", "error=storage_unavailable", "mail=pending"):
        assert part in line


async def test_an_unknown_state_is_refused(run: Run) -> None:
    done = await run("list", "--status", "broken")
    assert done.exit_code == 2
    assert "must be one of queued, running" in done.stderr


async def test_everything_about_an_export_is_on_one_screen(
    failed: Export, run: Run, connection: Connection
) -> None:
    await connection.execute("UPDATE exports SET email_error = '451 4.7.1 try again later'")
    done = await run("show", failed.id)
    assert done.exit_code == 0, done.output
    for part in (
        "status: failed",
        "storage_unavailable",
        "The store is unavailable.",
        "attempts: 8",
        "451 4.7.1 try again later",
        "downloads:",
        "requested",
    ):
        assert part in done.stdout
    document = json.loads((await run("show", failed.id, "--json")).stdout)
    assert document["mail"]["error"] == "451 4.7.1 try again later"
    assert [each["action"] for each in document["audit"]] == ["requested"]


async def test_an_unknown_export_is_reported_in_a_sentence(run: Run) -> None:
    for command in ("show", "cancel", "delete", "retry"):
        done = await run(command, uuid4())
        assert done.exit_code == 1
        assert done.stderr.strip() == "export_not_found: There is no such export."


async def test_an_active_export_is_cancelled_and_an_ended_one_stays(
    failed: Export, run: Run, database: Database, connection: Connection
) -> None:
    active = (await connection.fetchrow("SELECT id FROM exports WHERE seller_id = 2"))["id"]
    done = await run("cancel", active)
    assert (done.exit_code, last_line(done)) == (0, f"{active} cancelled")
    done = await run("cancel", failed.id)
    assert (done.exit_code, last_line(done)) == (1, f"{failed.id} failed")
    assert (await reload(database, failed)).email_status == "pending"


async def test_a_file_is_deleted(make_file: Ask, run: Run, storage: ObjectStorage) -> None:
    export = await make_file()
    assert export.object_key is not None
    done = await run("delete", export.id)
    assert (done.exit_code, last_line(done)) == (0, f"{export.id} deleted")
    assert await storage.head(export.object_key) is None
    shown = json.loads((await run("show", export.id, "--json")).stdout)
    assert [(each["action"], each["actor"]) for each in shown["audit"]][:1] == [
        ("erased", operating_user())
    ]


async def test_all_files_of_a_seller_are_deleted_and_what_is_being_written(
    make_file: Ask, create_export: Ask, exporter: Exporter, run: Run, database: Database
) -> None:
    written = [await make_file(recipient_email=f"{name}@example.com") for name in ("one", "two")]
    running, queued = [
        await create_export(recipient_email=f"{name}@example.com") for name in ("three", "four")
    ]
    assert await exporter.claim(running.key)
    other = await make_file(seller_id=2)
    done = await run("delete", "--seller", 1)
    assert done.exit_code == 0, done.output
    states = {each.id: (await reload(database, each)).status for each in (*written, running)}
    assert list(states.values()) == ["deleted", "deleted", "cancelled"]
    printed = done.stdout.splitlines()[-len(states) :]
    assert sorted(printed) == sorted(f"{key} {status}" for key, status in states.items())
    assert (await reload(database, queued)).status == "queued"
    assert (await reload(database, other)).status == "succeeded"


async def test_a_file_that_the_store_does_not_delete_yet_is_reported(
    make_file: Ask, run: Run, service_environment: dict[str, str]
) -> None:
    export = await make_file()
    service_environment["S3_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = await run("delete", export.id)
    assert (done.exit_code, last_line(done)) == (1, f"{export.id} succeeded")


@pytest.mark.parametrize("arguments", [(), (uuid4(), "--seller", 1)])
async def test_delete_wants_one_export_or_a_seller(run: Run, arguments: tuple[Any, ...]) -> None:
    assert (await run("delete", *arguments)).exit_code == 2


async def test_the_notice_of_a_large_list_is_shown(
    failed: Export, run: Run, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO list_notices (seller_id, export_id, status, error) "
        "VALUES ($1, $2, 'failed', '550 5.1.1 no such mailbox')",
        *failed.key,
    )
    shown = json.loads((await run("show", failed.id, "--json")).stdout)
    assert shown["notice"]["status"] == "failed"
    assert "550 5.1.1 no such mailbox" in (await run("show", failed.id)).stdout


async def test_one_failed_export_runs_again(failed: Export, run: Run, database: Database) -> None:
    done = await run("retry", failed.id)
    assert (done.exit_code, last_line(done)) == (0, f"{failed.id} queued")
    again = await run("retry", failed.id)
    assert again.exit_code == 1
    assert "export_not_ready: The export is queued" in again.stderr


async def test_all_that_an_outage_failed_run_again_by_one_command(
    failed: Export, run: Run, database: Database
) -> None:
    command = ("retry", "--code", "storage_unavailable", "--since", "2h")
    assert last_line(await run(*command)) == "1 exports run again"
    assert last_line(await run(*command)) == "0 exports run again"
    assert (await reload(database, failed)).status == "queued"


@pytest.mark.parametrize("arguments", [(), (uuid4(), "--since", "2h")])
async def test_retry_wants_one_export_or_a_filter(run: Run, arguments: tuple[Any, ...]) -> None:
    assert (await run("retry", *arguments)).exit_code == 2
