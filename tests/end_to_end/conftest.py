"""The whole stack from outside: processes, HTTP, mails."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.database.connections import Connection, connect
from devstack.pgbouncer import PgBouncer
from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox
from devstack.service_processes import ROOT
from devstack.stack import DATABASE
from tests.audience.storefront import Storefront

numbers = count(1)

START_S = 60
EXPORT_S = 30


@dataclass(frozen=True)
class Stack:
    """A running stack: the file that ``python -m devstack`` wrote, and its path."""

    env_file: Path
    settings: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The environment that ``set -a; . FILE`` leaves a shell with."""
        return os.environ | self.settings

    def mails(self, recipient: str) -> list[EmailMessage]:
        """Return the mails to ``recipient``, oldest first."""
        files = sorted(Path(self.settings["MAILBOX_DIR"]).glob("*.eml"))
        parser = BytesParser(policy=policy.default)
        messages: list[Any] = [parser.parsebytes(file.read_bytes()) for file in files]
        return [message for message in messages if message["To"] == recipient]


@pytest.fixture(scope="session")
def bouncer(sandbox: Sandbox, postgres: PostgresServer) -> PgBouncer:
    """PgBouncer in front of the tests' PostgreSQL, with fewer server sessions than clients."""
    server = PgBouncer(sandbox, postgres)
    server.start()
    return server


@pytest.fixture(
    scope="session", params=["direct", pytest.param("pgbouncer", marks=pytest.mark.pgbouncer)]
)
def stack_environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """The stack's database settings: its own server, or one behind PgBouncer."""
    if request.param == "direct":
        return {}
    bouncer: PgBouncer = request.getfixturevalue("bouncer")
    postgres: PostgresServer = request.getfixturevalue("postgres")
    name = f"{DATABASE}_{next(numbers)}"
    postgres.create_database(name)
    return {"DATABASE_URL": bouncer.url(name), "AUDIENCE_DATABASE_URL": bouncer.url(name)}


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_environment: dict[str, str]
) -> Iterator[Stack]:
    """``python -m devstack`` with an API and a worker, for all end-to-end tests."""
    env_file = tmp_path_factory.mktemp("stack") / "env"
    command = [sys.executable, "-m", "devstack", "--env-file", str(env_file)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | stack_environment)
    try:
        _wait_for(env_file, process)
        yield Stack(env_file, _read(env_file))
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token for every seller."""
    headers = {"Authorization": f"Bearer {stack.settings['SERVICE_TOKEN']}"}
    url = stack.settings["API_URL"]
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
async def connection(stack: Stack) -> AsyncIterator[Connection]:
    """One connection to the stack's database."""
    connection = await connect(stack.settings["DATABASE_URL"])
    yield connection
    await connection.close()


@pytest.fixture
def storefront(connection: Connection) -> Storefront:
    """The storefront of the stack's database."""
    return Storefront(connection)


async def finished(client: httpx.AsyncClient, export_id: str) -> dict[str, Any]:
    """Return an export once it has ended and its mail was sent."""
    async with asyncio.timeout(EXPORT_S):
        while True:
            export: dict[str, Any] = (await client.get(f"/exports/{export_id}?wait=30")).json()
            is_mailed = export["email"] is None or export["email"]["status"] != "pending"
            if export["status"] not in ("queued", "running") and is_mailed:
                return export
            await asyncio.sleep(0.05)


def _wait_for(env_file: Path, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(START_S * 20):
        if env_file.exists():
            return
        assert process.poll() is None, "the stack ended"
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("the stack did not start in time")


def _read(env_file: Path) -> dict[str, str]:
    script = 'set -a; . "$0"; env -0'
    shell = ["env", "-i", "sh", "-c", script, str(env_file)]
    output = subprocess.run(shell, capture_output=True, check=True).stdout.decode()
    pairs = (line.split("=", 1) for line in output.strip("\0").split("\0"))
    return {name: value for name, value in pairs if name not in ("PWD", "SHLVL", "_")}
