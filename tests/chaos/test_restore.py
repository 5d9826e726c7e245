"""A restored database goes on: the runbook of docs/deploy.md, with twenty exports on the way."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from devstack.postgres import PostgresServer
from devstack.sandbox import base_environment
from devstack.service_processes import ROOT
from tests.chaos.crowd import Crowd, gather, settle
from tests.chaos.environment import Environment, open_environment
from tests.chaos.faults import SLOW_DOWN, WRITES, signals
from tests.chaos.invariants import InvariantChecker, bucket_of, mails_of
from tests.chaos.run import SHORT, wait_until_idle
from tests.chaos.shop import Shop
from tests.docs.pages import blocks
from tests.polling import HANGS_S, until
from tests.proxy import Delay
from tests.roles import create_role

PAGE = ROOT / "docs" / "deploy.md"
INSTANT = "2026-11-27 10:20:30.5+00"
"""What the page restores to."""

ACTIVE = 20
LATER = 4
GROUP = ACTIVE // 4
RUNNING = 3
IDLE_S = 60.0
HELD_S = 5.0
"""For how long the store keeps an answer back: longer than a worker takes to be frozen."""

STATES = """
    SELECT concat_ws(' ', status, CASE WHEN attempt = 0 THEN 'new' ELSE email_status END), count(*)
    FROM exports
    GROUP BY 1
    ORDER BY 1
"""


@dataclass
class Runbook:
    """Runs the page's blocks, on the environment's database and a folder for ``/backup``."""

    environment: Environment
    folder: Path
    instant: str = INSTANT

    @classmethod
    def create(cls, environment: Environment) -> "Runbook":
        """Return one with an empty folder."""
        folder = environment.sandbox.folder("backup", environment.postgres._user)
        environment.sandbox.folder("backup/wal", environment.postgres._user)
        return cls(environment, folder)

    def block(self, heading: str, number: int = 0) -> str:
        """Return a block of the page, for this folder and instant."""
        found = blocks(PAGE, f"### {heading}")[number]
        return found.replace("/backup", str(self.folder)).replace(INSTANT, self.instant)

    def run(self, heading: str, number: int = 0, *, as_server: bool = True) -> None:
        """Run a block, as PostgreSQL's user or as the service's."""
        postgres = self.environment.postgres
        user = postgres._user if as_server else None
        programs = (postgres._bin, Path(sys.executable).parent, os.environ["PATH"])
        variables = {
            "PATH": os.pathsep.join(map(str, programs)),
            "PGDATA": str(postgres._data),
        }
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", self.block(heading, number)],
            capture_output=True,
            check=False,
            text=True,
            cwd=self.folder if as_server else ROOT,
            env=base_environment() | self.environment.settings | variables,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class Dump:
    """A dump, restored into an empty server."""

    def prepare(self, runbook: Runbook) -> None:
        """Nothing: a dump needs no preparation."""

    def back_up(self, runbook: Runbook) -> None:
        """Dump."""
        runbook.run("Dump")

    def restore(self, runbook: Runbook) -> None:
        """Restore into another server."""
        environment = runbook.environment
        environment.postgres.stop()
        environment.postgres = PostgresServer(environment.sandbox, name="restored")
        environment.postgres.start()
        url = environment.postgres.create_database("chaos")
        environment.settings["DATABASE_URL"] = url
        environment.role = create_role(environment.postgres, url)
        runbook.run("Restore", 0)


class Archive:
    """A base backup and the log since, restored to an instant."""

    def prepare(self, runbook: Runbook) -> None:
        """Archive the log, and make a base backup."""
        postgres = runbook.environment.postgres
        with (postgres._data / "postgresql.conf").open("a") as file:
            file.write(runbook.block("Archive the log", 0))
        postgres.stop()
        postgres.start()
        runbook.run("Archive the log", 1)

    def back_up(self, runbook: Runbook) -> None:
        """Note the instant; the archive goes on."""
        runbook.instant = runbook.environment.postgres.execute("SELECT clock_timestamp()")

    def restore(self, runbook: Runbook) -> None:
        """Lose the server once its log is archived, and replay the archive."""
        postgres = runbook.environment.postgres
        log = postgres.execute("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until_true(postgres, f"SELECT last_archived_wal >= '{log}' FROM pg_stat_archiver")
        postgres.kill()
        shutil.rmtree(postgres._data)
        runbook.environment.sandbox.folder("postgres/data", postgres._user)
        runbook.run("Restore", 1)
        postgres.start()
        wait_until_true(postgres, "SELECT NOT pg_is_in_recovery()")


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(Dump(), id="dump"),
        pytest.param(Archive(), id="archive", marks=pytest.mark.slow),
    ],
)
async def test_twenty_active_exports_go_on_after_a_restore(way: Dump | Archive) -> None:
    dice = random.Random(17)
    crowd = gather(dice, ACTIVE + LATER)
    async with open_environment(SHORT.settings) as environment:
        runbook = Runbook.create(environment)
        await asyncio.to_thread(way.prepare, runbook)
        await settle(crowd, environment.settings["DATABASE_URL"], dice)
        shop = Shop(environment, dice, withdrawn_part=0)
        go_on = await make_active(environment, crowd, shop)
        states = environment.postgres.execute(STATES, "chaos")
        await asyncio.to_thread(way.back_up, runbook)
        await go_on()
        await shop.trade(crowd.requests[ACTIVE:], 0)
        await wait_until_idle(environment, IDLE_S)
        sent = message_ids(environment)
        made, _ = bucket_of(environment)
        assert len(sent) == len(made) == ACTIVE + LATER
        await asyncio.to_thread(environment.stop_service)
        await asyncio.to_thread(way.restore, runbook)
        assert environment.postgres.execute(STATES, "chaos") == states
        await asyncio.to_thread(runbook.run, "Check what was restored", as_server=False)
        environment.smtp.empty()
        await asyncio.to_thread(environment.serve, ROOT)
        environment.add_worker()
        await wait_until_idle(environment, IDLE_S)
        restored = replace(crowd, requests=crowd.requests[:ACTIVE])
        verdict = await InvariantChecker(environment, restored, set()).check()
        assert verdict.faults == []
        assert message_ids(environment) <= sent


def wait_until_true(postgres: PostgresServer, query: str) -> None:
    """Wait until a query answers ``t``."""
    postgres._running.wait_until(lambda: postgres.execute(query) == "t", HANGS_S)


async def make_active(
    environment: Environment, crowd: Crowd, shop: Shop
) -> Callable[[], Awaitable[None]]:
    """Request four groups of exports and leave each in another state; return what lets them go on.

    They wait for their mail, for a retry, for the store in a worker that is frozen, and for a
    worker.
    """
    groups = [crowd.requests[first : first + GROUP] for first in range(0, ACTIVE, GROUP)]
    await environment.smtp_proxy.stop()
    await shop.trade(groups[0], 0)
    await until_counted(environment, "email_status = 'pending'", GROUP)
    environment.s3_proxy.fault(SLOW_DOWN, on=WRITES, times=None)
    await shop.trade(groups[1], 0)
    await until_counted(environment, "error_code IS NOT NULL AND file_rows IS NULL", GROUP)
    environment.s3_proxy.heal()
    environment.s3_proxy.fault(Delay(HELD_S), on=WRITES, times=None)
    await shop.trade(groups[2], 0)
    await until_counted(environment, "status = 'running'", RUNNING)
    frozen = [signals(partial(getattr, worker, "pid")) for worker in environment.workers]
    for freeze, _ in frozen:
        await freeze()
    await shop.trade(groups[3], 0)

    async def go_on() -> None:
        environment.s3_proxy.heal()
        await environment.smtp_proxy.start()
        for _, thaw in frozen:
            await thaw()

    return go_on


async def until_counted(environment: Environment, condition: str, at_least: int) -> None:
    """Wait until this many exports meet a condition."""
    counted = f"SELECT count(*) FROM exports WHERE {condition}"

    async def enough() -> bool:
        found = await asyncio.to_thread(environment.postgres.execute, counted, "chaos")
        return int(found) >= at_least

    await until(enough)


def message_ids(environment: Environment) -> set[tuple[str, str]]:
    """Return the recipient and the ``Message-ID`` of every mail that has arrived."""
    return {(str(mail["To"]), str(mail["Message-ID"])) for mail in mails_of(environment)}
