"""An upgrade under faults: this version and the one before on one database, all ways round."""

import asyncio
import contextlib
import re
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import httpx
from alembic.script import ScriptDirectory

from app.database.connections import connect
from devstack.migrate import migrate
from devstack.sandbox import ServerFailed
from devstack.service_processes import ROOT
from tests import previous_version
from tests.chaos.crowd import Crowd
from tests.chaos.environment import Environment
from tests.chaos.invariants import Verdict, mails_of
from tests.chaos.run import LONG, SHORT, Scale
from tests.chaos.shop import Shop
from tests.polling import until

LONG_UPGRADE: Scale = replace(LONG, frozen_max_s=15)
SHORT_UPGRADE: Scale = replace(SHORT, exports=24, frozen_max_s=5)
"""A worker is not replaced while it is frozen: a shorter freeze leaves more time for the rest."""

EXPANSION = '''
"""All that a migration may add. Locks `exports` and `export_audit` for an instant."""

from alembic import op

revision = "expansion"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table, columns, a constraint, an action, and an index without a lock."""
    op.execute("CREATE TABLE expansion (id bigint PRIMARY KEY)")
    op.execute(
        "ALTER TABLE exports ADD COLUMN note text, ADD COLUMN weight bigint NOT NULL DEFAULT 7,"
        " ADD CONSTRAINT exports_weight_check CHECK (weight > 0) NOT VALID"
    )
    op.execute(
        "ALTER TABLE export_audit DROP CONSTRAINT export_audit_action_check,"
        " ADD CONSTRAINT export_audit_action_check CHECK (action <> '') NOT VALID"
    )
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS exports_note_idx")
        op.execute("CREATE INDEX CONCURRENTLY exports_note_idx ON exports (note)")
'''
"""Runs after the migrations that came since the version before, of which there may be none."""

LINK = re.compile(r"/d/[\w.~-]+")
DEFECT = re.compile(r'"event": ?"(attempt crashed|mail crashed|unexpected error)"')
PID = re.compile(r":(\d+)$")
STUCK_S = 120
"""What takes longer is stuck: by then every fault of the run has been repaired."""


Version = Literal["old", "new"]


class Stage(NamedTuple):
    """Which version's schema, API and workers there are."""

    schema: Version
    api: Version
    workers: Version


COURSE = (
    Stage("old", "old", "old"),
    Stage("new", "old", "old"),
    Stage("new", "old", "new"),
    Stage("new", "new", "new"),
    Stage("new", "new", "old"),
    Stage("new", "new", "new"),
)
"""The stages of docs/deploy.md, and back by the workers once."""

SHORT_COURSE = COURSE[0], COURSE[2], COURSE[4]
"""Each version's API meets the other's workers, in half the time."""


class Upgrade:
    """The course of a run in which the schema, the workers and the API are replaced in turn.

    ``root`` is the version before. In each stage a share of the exports is requested, and at
    least one of them is made.
    """

    def __init__(self, folder: Path, course: Sequence[Stage] = COURSE) -> None:
        self.root = previous_version.unpack(folder / "before")
        self._roots: dict[Version, Path] = {"old": self.root, "new": ROOT}
        self._expanded = expanded_copy(folder / "expanded")
        self._course = course

    async def trade(
        self, environment: Environment, crowd: Crowd, shop: Shop, seconds: float
    ) -> None:
        """Enter each stage, and make requests in it."""
        for number, (before, stage) in enumerate(pairwise((self._course[0], *self._course))):
            await self._enter(environment, before, stage)
            requests = crowd.requests[number :: len(self._course)]
            await shop.trade(requests, seconds / len(self._course))
            await one_is_made(environment, [request.recipient for request in requests])

    async def _enter(self, environment: Environment, before: Stage, stage: Stage) -> None:
        if stage.schema != before.schema:
            await migrate_until_it_succeeds(environment, self._expanded)
        if stage.workers != before.workers:
            await replace_workers(environment, self._roots[stage.workers])
        if stage.api != before.api:
            await asyncio.to_thread(environment.serve, self._roots[stage.api])

    async def check(self, environment: Environment, crowd: Crowd, shop: Shop) -> Verdict:
        """Check that both versions of each process met, and that every mailed link opens."""
        counts = await self._count_pairs(environment, shop)
        pairs = sorted({(stage.api, stage.workers) for stage in self._course}, reverse=True)
        faults = [
            f"no export of the {api} API and a {made} worker"
            for api, made in pairs
            if not counts[api, made]
        ]
        faults += [fault async for fault in wrong_links(environment, crowd, shop)]
        faults += unexpected_errors(environment)
        return Verdict(
            faults, {f"{api} API, {made} worker": counts[api, made] for api, made in pairs}
        )

    async def _count_pairs(
        self, environment: Environment, shop: Shop
    ) -> Counter[tuple[Version, Version]]:
        """Count the exports by the version that accepted them and the one that made them last."""
        versions = {root: version for version, root in self._roots.items()}
        pids = {pid: root for worker in environment.workers for pid, root in worker.pids.items()}
        connection = await connect(environment.settings["DATABASE_URL"])
        rows = await connection.fetch(
            "SELECT recipient_email, worker FROM exports WHERE attempt > 0"
        )
        await connection.close()
        return Counter(
            (
                versions[shop.accepted_by[row["recipient_email"]]],
                versions[pids[pid_of(row["worker"])]],
            )
            for row in rows
        )


def expanded_copy(folder: Path) -> Path:
    """Copy this version's migrations, with one more that adds whatever a migration may add."""
    folder.mkdir()
    for name in ("app", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", folder)
    head = ScriptDirectory(str(folder / "migrations")).get_current_head()
    (folder / "migrations" / "versions" / "expansion.py").write_text(EXPANSION.format(head=head))
    return folder


async def migrate_until_it_succeeds(environment: Environment, root: Path) -> None:
    """Run the migrations until they succeed, as docs/deploy.md says: they give up a lock soon."""
    deadline = time.monotonic() + STUCK_S
    while True:
        try:
            return await asyncio.to_thread(migrate, environment.settings, root=root)
        except ServerFailed:
            if time.monotonic() > deadline:
                raise


async def replace_workers(environment: Environment, root: Path) -> None:
    """Stop each worker and start it with another checkout, one after the other."""
    for worker in environment.workers:
        async with worker.alone:
            worker.root = root
            await asyncio.to_thread(worker.stop)
            await asyncio.to_thread(worker.start)


async def one_is_made(environment: Environment, recipients: list[str]) -> None:
    """Wait until one of these exports has succeeded, through every outage."""
    made = f"""
        SELECT count(*)
        FROM exports
        WHERE finished_at IS NOT NULL AND file_rows IS NOT NULL
        AND recipient_email IN ({", ".join(map(repr, recipients))})
    """

    async def is_made() -> bool:
        with contextlib.suppress(ServerFailed):
            return await asyncio.to_thread(environment.postgres.execute, made, "chaos") != "0"
        return False

    await until(is_made, STUCK_S)


async def wrong_links(environment: Environment, crowd: Crowd, shop: Shop) -> AsyncIterator[str]:
    """Open every mailed link at the API that serves last, and yield what is not its file."""
    requests = {request.recipient: request for request in crowd.requests}
    async with httpx.AsyncClient(base_url=environment.api_url, follow_redirects=True) as client:
        for recipient, link in mailed_links(environment):
            answer = await client.get(link)
            if recipient in shop.withdrawn:
                if answer.is_success:
                    yield f"{recipient}: the link to a deleted file opens"
            elif not crowd.is_right(requests[recipient], answer.content):
                yield f"{recipient}: the link answers {answer.status_code}, or another file"


def mailed_links(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield the recipient and the link's path of each mail."""
    for mail in mails_of(environment):
        body = mail.get_body(("plain",))
        assert body is not None
        for link in LINK.findall(body.get_content()):
            yield str(mail["To"]), link


def unexpected_errors(environment: Environment) -> Iterator[str]:
    """Yield the lines of every process' log that tell of a defect."""
    for path in sorted(environment.sandbox.path.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if DEFECT.search(line):
                yield f"{path.stem}: {line}"


def pid_of(worker: str) -> int:
    """Return the process id in a worker's name."""
    found = PID.search(worker)
    assert found is not None, worker
    return int(found[1])
