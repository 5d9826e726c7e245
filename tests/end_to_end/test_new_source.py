"""A new kind of audience: the page's entry and migration, in a copy of the tree, all the way."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.database.connections import Connection, connect
from devstack import tokens
from devstack.postgres import PostgresServer
from devstack.sandbox import Process, Sandbox, base_environment, free_port
from devstack.service_processes import ROOT, start_api, start_worker
from devstack.smtp import SmtpServer
from tests.end_to_end.conftest import finished
from tests.migrations.schema import alembic, described

ENTRIES = """
READER = Source(
    key="newsletter_reader",
    label="Readers",
    table="newsletter",
    eligible="NOT deleted AND (kind = 'a:b' OR kind ~ '[[:alpha:]]') -- a remark",
)

PATRON = Source(key="patron", label="Patrons", table="people", eligible="left_at IS NULL")

SOURCES = (FOLLOWER, CUSTOMER, AFFILIATE, SUBSCRIBER, READER, PATRON)
"""
"""Sources whose tables are unlike ours: other names, ids and types, several rows a person."""

MIGRATION = '''
"""More sources. Locks nothing that is in use."""

from alembic import op
from sqlalchemy import text

from app.audience import projection
from app.audience.sources import PATRON, READER

revision = "more"
down_revision = "subscribers"


def upgrade() -> None:
    """Create them."""
    op.execute("""
        CREATE TABLE newsletter (
            id uuid NOT NULL DEFAULT uuidv7() PRIMARY KEY,
            seller_id integer,
            email varchar(80),
            created_at timestamptz DEFAULT now(),
            deleted boolean NOT NULL DEFAULT false,
            key text,
            version integer DEFAULT 7,
            line json,
            kind text DEFAULT 'weekly',
            "Order" numeric(6, 2)
        )
    """)
    op.execute("""
        CREATE TABLE people (
            id text PRIMARY KEY,
            seller_id bigint NOT NULL,
            email text,
            created_at timestamptz NOT NULL,
            left_at timestamptz
        )
    """)
    for source in (READER, PATRON):
        for statement in projection.install(source):
            op.execute(text(statement.replace(":", r"\\:")))


def downgrade() -> None:
    """Drop them."""
'''

DAY = "2026-03-01T10:20:30Z"
INSTANT = datetime.fromisoformat(DAY)


def block(page: str, beginning: str) -> str:
    """Return the page's Python block that begins so."""
    found = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    (chosen,) = [each for each in found if each.startswith(beginning)]
    return str(chosen)


def copy(tree: Path) -> None:
    """Copy what Git knows, as it is on the disk."""
    command = ["git", "ls-files", "-z", "app", "workers", "migrations", "alembic.ini"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)


def add_entry(tree: Path, entry: str) -> None:
    """Put an entry into the registry, the last assignment of ``SOURCES`` replaced by its own."""
    registry = tree / "app/audience/sources.py"
    text, count = re.subn(r"^SOURCES = .*\n", entry, registry.read_text(), flags=re.M)
    assert count == 1
    registry.write_text(text)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with the page's entry and migration, and with two more sources."""
    tree = tmp_path_factory.mktemp("tree")
    copy(tree)
    add_entry(tree, block("docs/audience.md", "SUBSCRIBER = "))
    head = alembic("postgresql://nowhere", "heads").stdout.split()[0]
    migration = block("docs/audience.md", '"""Subscribers')
    assert f'\ndown_revision = "{head}"' in migration, "the page names a head of long ago"
    (tree / "migrations/versions/subscribers.py").write_text(migration)
    return tree


@pytest.fixture(scope="module")
def wild_tree(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two sources more, whose tables are unlike ours."""
    wild = tmp_path_factory.mktemp("wild")
    shutil.copytree(tree, wild, dirs_exist_ok=True)
    add_entry(wild, ENTRIES)
    (wild / "migrations/versions/more.py").write_text(MIGRATION)
    return wild


@dataclass(frozen=True)
class Service:
    """The copy's API and worker, and what its commands need."""

    tree: Path
    settings: dict[str, str]
    client: httpx.AsyncClient
    connection: Connection
    smtp: SmtpServer

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the copy's ``audience-export``."""
        return subprocess.run(
            [sys.executable, "-c", "from app.cli.app import main; main()", *arguments],
            cwd=self.tree,
            env=base_environment() | self.settings | {"PYTHONPATH": str(self.tree)},
            capture_output=True,
            text=True,
            input=stdin,
            timeout=120,
        )

    async def post(self, *events: dict[str, Any]) -> httpx.Response:
        """Send events."""
        body = "\n".join(json.dumps(event) for event in events)
        kind = {"Content-Type": "application/x-ndjson"}
        return await self.client.post("/audience/events", content=body, headers=kind)

    async def members(self, key: str) -> list[str]:
        """Return the addresses of seller 1 in one source."""
        ran = self.run("export", "--seller", "1", f"--{key}", "--column", "email", "-o", "-")
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()[1:]


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Processes that end with the test."""
    started: list[Process] = []
    yield started
    for process in reversed(started):
        process.stop()


@pytest.fixture
async def service(
    request: pytest.FixtureRequest,
    sandbox: Sandbox,
    empty_database_url: str,
    service_environment: dict[str, str],
    smtp_server: SmtpServer,
    processes: list[Process],
) -> AsyncIterator[Service]:
    """The copy's own service, migrated on an empty database."""
    tree: Path = request.getfixturevalue(getattr(request, "param", "tree"))
    alembic(empty_database_url, "upgrade", "head", root=tree)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = service_environment | {"DATABASE_URL": empty_database_url, "PUBLIC_URL": url}
    settings.pop("AUDIENCE_DATABASE_URL", None)
    processes.append(start_api(sandbox, settings, port, root=tree))
    processes.append(start_worker(sandbox, settings, root=tree))
    token = tokens.demo_tokens(settings)["SERVICE_TOKEN"]
    headers = {"Authorization": f"Bearer {token}"}
    connection = await connect(empty_database_url)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        yield Service(tree, settings, client, connection, smtp_server)
    await connection.close()


async def test_one_entry_and_one_migration_are_all(service: Service) -> None:
    await service.connection.execute(
        """
        INSERT INTO subscribers (seller_id, email, created_at, active)
        VALUES (1, 'Ann@x.co', $1, true), (1, 'gone@x.co', $1, false), (2, 'bob@x.co', $1, true)
        """,
        INSTANT,
    )
    await service.connection.execute(
        "INSERT INTO followers (seller_id, email, created_at, confirmed_at)"
        " VALUES (1, 'ann@x.co', $1, $1), (1, 'fan@x.co', $1, $1)",
        INSTANT,
    )
    counted = (await service.client.get("/audience", params={"seller_id": 1})).json()
    assert counted["sources"][-1] == {"key": "subscriber", "label": "Subscribers", "count": 1}
    assert counted["total"] == 2

    columns = ["email", "sources", "subscriber_since"]
    body = {"seller_id": 1, "recipient_email": "ann@example.com", "columns": columns}
    response = await service.client.post("/exports", json=body | {"subscriber": True})
    assert response.status_code == 202, response.text
    export = await finished(service.client, response.json()["id"])
    assert (export["status"], export["email"]["status"]) == ("succeeded", "sent")
    file = await service.client.get(export["download_url"], follow_redirects=True)
    assert list(csv.reader(file.text.splitlines())) == [
        ["Email", "Sources", "Subscriber Since (UTC)"],
        ["ann@x.co", "subscriber", "2026-03-01 10:20:30"],
    ]
    (mail,) = service.smtp.mailbox.glob("*.eml")
    assert "Subscribers" in mail.read_text()
    assert await service.members("subscriber") == ["ann@x.co"]


async def test_the_documents_follow(service: Service) -> None:
    document = (await service.client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    body = schemas["ExportCreate"]["properties"]
    assert body["subscriber"]["type"] == "boolean"
    assert "subscriber_since" in str(body["columns"])
    assert schemas["SubscriberUpsert"]["properties"]["source"]["const"] == "subscriber"
    assert "SubscriberUpsert" in str(schemas["AudienceEvent"])
    row = schemas["SubscriberRow"]
    assert row["properties"].keys() == {"email", "created_at", "active"}
    assert row["properties"]["active"] == {"type": "boolean"}
    assert row["required"] == ["created_at"]


async def test_it_is_fed_and_checked_like_the_others(service: Service) -> None:
    file = f"key,seller_id,email,created_at,active\n1,1,ann@x.co,{DAY},true\n2,1,b@x.co,{DAY},\n"
    ran = service.run("import", "subscriber", "-", stdin=file)
    assert ran.returncode == 0, ran.stderr
    event = {"source": "subscriber", "version": 1, "seller_id": 1}
    row = {"email": "new@x.co", "created_at": DAY}
    changed = [
        event | {"key": "1", "row": row | {"active": False}},
        event | {"key": "3", "row": row},
    ]
    answer = await service.post(*changed)
    assert answer.json() == {"applied": 2, "ignored": 0, "unusable_addresses": 0}, answer.text
    assert await service.members("subscriber") == ["b@x.co", "new@x.co"]
    assert service.run("verify").returncode == 0
    await service.connection.execute("UPDATE audience_members SET subscriber_since = now()")
    drifted = service.run("verify")
    assert drifted.returncode == 1
    assert "wrong subscriber date: 2" in drifted.stdout
    assert service.run("rebuild").returncode == 0
    assert service.run("verify").returncode == 0
    doctor = service.run("doctor")
    assert "database.projection" in doctor.stdout, doctor.stdout + doctor.stderr
    assert "The triggers of every source are this code's." in doctor.stdout


@pytest.mark.slow
@pytest.mark.parametrize("service", ["wild_tree"], indirect=True)
async def test_tables_unlike_ours_are_sources_too(service: Service) -> None:
    await service.connection.execute(
        """
        INSERT INTO newsletter (seller_id, email, created_at, deleted)
        VALUES
            (1, 'twice@x.co', '2026-03-02', false),
            (1, 'twice@x.co', '2026-03-01', false),
            (1, 'gone@x.co', '2026-03-01', true),
            (1, 'no-date@x.co', NULL, false),
            (NULL, 'no-seller@x.co', '2026-03-01', false)
        """
    )
    assert await service.members("newsletter_reader") == ["twice@x.co"]
    reader = {"source": "newsletter_reader", "seller_id": 1}
    row = {"email": "fed@x.co", "created_at": DAY, "key": "k", "line": {"a": [1]}, "Order": 9.5}
    for version in (1, 2):
        fed = reader | {"key": "n-1", "version": version, "row": row}
        answer = await service.post(fed, reader | {"key": "none", "version": 1, "deleted": True})
        assert answer.status_code == 200, answer.text
        assert answer.json()["applied"] == (2 if version == 1 else 1)
    stored = await service.connection.fetchrow(
        'SELECT key, version, kind, "Order"::text, line::text, deleted FROM newsletter'
        " WHERE email = 'fed@x.co'"
    )
    assert tuple(stored) == ("k", 7, "weekly", "9.50", '{"a": [1]}', False)
    too_long = reader | {"key": "n-2", "version": 1, "row": row | {"Order": 12345.5}}
    answer = await service.post(too_long)
    assert answer.status_code == 422
    assert "Order: is no valid numeric(6,2)" in answer.text
    await service.post(reader | {"key": "n-1", "version": 3, "row": row | {"deleted": True}})
    assert await service.members("newsletter_reader") == ["twice@x.co"]


@pytest.mark.slow
@pytest.mark.parametrize("service", ["wild_tree"], indirect=True)
async def test_where_no_ids_are_made_the_key_is_the_id(service: Service) -> None:
    await service.connection.execute(
        "INSERT INTO people VALUES ('p1', 1, 'old@x.co', '2026-03-01')"
    )
    patron = {"source": "patron", "seller_id": 1}
    row = {"email": "new@x.co", "created_at": DAY}
    response = await service.post(patron | {"key": "p1", "version": 1, "row": row})
    assert response.json() == {"applied": 1, "ignored": 0, "unusable_addresses": 0}
    second = patron | {"key": "p2"}
    both = [second | {"version": n, "row": row | {"email": f"{n}@x.co"}} for n in (1, 2)]
    assert (await service.post(*both)).json() == {
        "applied": 2,
        "ignored": 0,
        "unusable_addresses": 0,
    }
    assert await service.members("patron") == ["2@x.co", "new@x.co"]
    assert (await service.post(patron | {"key": "p1", "version": 2, "deleted": True})).is_success
    for header in ("key", "id"):
        file = f"{header},seller_id,email,created_at\n{header},1,{header}@x.co,{DAY}\n"
        ran = service.run("import", "patron", "-", stdin=file)
        assert ran.returncode == 0, ran.stderr
    assert await service.members("patron") == ["2@x.co", "id@x.co", "key@x.co"]
    assert service.run("verify").returncode == 0


async def test_a_database_in_use_gets_it_by_the_migration_alone(
    tree: Path, database_url: str, empty_database_url: str, postgres: PostgresServer
) -> None:
    connection = await connect(database_url)
    await connection.execute(
        "INSERT INTO followers (seller_id, email, created_at, confirmed_at)"
        " VALUES (1, 'fan@x.co', now(), now())"
    )
    alembic(database_url, "upgrade", "head", root=tree)
    alembic(empty_database_url, "upgrade", "head", root=tree)
    assert await described(database_url) == await described(empty_database_url)
    await connection.execute(
        "INSERT INTO subscribers (seller_id, email, created_at) VALUES (1, 'fan@x.co', now())"
    )
    member = await connection.fetchrow("SELECT * FROM audience_members")
    assert None not in (member["follower_since"], member["subscriber_since"])
    alembic(database_url, "downgrade", "-1", root=tree)
    assert await connection.fetchval("SELECT count(*) FROM audience_members") == 1
    await connection.close()
