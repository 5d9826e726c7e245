"""After an outage: one command brings every failed export back, each once, owners told once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from email import policy
from email.parser import BytesParser

import pytest

from app.database.connections import Connection, connect
from tests.conftest import RunningService
from tests.end_to_end import command
from tests.polling import until

FAILED = """
    INSERT INTO exports (
        seller_id, sources, columns, spreadsheet_safe, bom, recipient_email, fingerprint, status,
        attempt, failures, started_at, finished_at, error_code, error_detail, email_status,
        email_attempts, email_sent_at
    )
    SELECT
        number, '{follower}', '{email}', true, false, 'seller' || number || '@outage.example',
        sha256(number::text::bytea), 'failed', 8, 8, clock_timestamp(), clock_timestamp(),
        'storage_unavailable', 'The file storage is unavailable.', 'sent', 1, clock_timestamp()
    FROM generate_series(1, $1) AS number
"""

UNFINISHED = """
    SELECT count(*)
    FROM exports
    WHERE status <> 'succeeded' OR email_status IS DISTINCT FROM 'sent'
"""

RETRIES = """
    SELECT count(*) AS retries, count(DISTINCT export_id) AS exports
    FROM export_audit
    WHERE action = 'retried'
"""

DOMAIN = "@outage.example"
READY = "Your audience export is ready"

COMMAND = ("exports", "retry", "--code", "storage_unavailable", "--since", "2h")
REST_S = 600


@pytest.fixture
async def connection(running_service: RunningService) -> AsyncIterator[Connection]:
    """A connection to the service's database."""
    connection = await connect(running_service.names["DATABASE_URL"])
    yield connection
    await connection.close()


@pytest.mark.parametrize("exports", [30, pytest.param(1000, marks=pytest.mark.slow)])
async def test_one_command_brings_all_failed_exports_back_and_owners_are_told_once(
    running_service: RunningService, connection: Connection, exports: int
) -> None:
    await connection.execute(FAILED, exports)
    # Two operators at once, and one of them again: each export runs again once.
    calls = [asyncio.to_thread(command.run, running_service.names, *COMMAND) for _ in range(2)]
    done = [*await asyncio.gather(*calls), command.run(running_service.names, *COMMAND)]
    assert [each.returncode for each in done] == [0] * 3, done
    counts = [int(each.stdout.split()[0].replace(b",", b"")) for each in done]
    assert sum(counts) == exports

    async def has_ended() -> bool:
        return bool(await connection.fetchval(UNFINISHED) == 0)

    await until(has_ended, REST_S)
    assert tuple(await connection.fetchrow(RETRIES)) == (exports, exports)
    mails = [
        BytesParser(policy=policy.default).parsebytes(path.read_bytes())
        for path in running_service.smtp.messages()
    ]
    told = Counter(
        (str(mail["To"]), mail["Subject"][: len(READY)])
        for mail in mails
        if mail["To"].endswith(DOMAIN)
    )
    assert told == {(f"seller{number}{DOMAIN}", READY): 1 for number in range(1, exports + 1)}
