"""The integration page's walk through the feeds is run as it stands."""

import io
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.audience.sources import FOLLOWER
from app.cli.import_file import source_table
from app.feeds.batches import BatchReader
from app.feeds.csv_records import read_records
from app.feeds.imports import ImportProgress, import_batches
from app.feeds.staging import RejectedLine
from devstack.service_processes import ROOT
from tests.audience.storefront import Storefront
from tests.end_to_end.conftest import Stack

SECTIONS = ("Feed in bulk, from files", "Feed over HTTP, with events")


def commands(heading: str) -> str:
    """Return the commands of a section of the integration page."""
    page = (ROOT / "docs" / "integration.md").read_text()
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(found)


def run(stack: Stack, script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run commands in a folder, in the stack's environment."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=stack.environment | {"PATH": path, "HOME": os.fspath(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.curl
async def test_files_and_events_end_in_the_audience_they_tell(
    stack: Stack, storefront: Storefront, tmp_path: Path
) -> None:
    ran = run(stack, "\n".join(map(commands, SECTIONS)), tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "2 lines, 0 bad; nothing written",
        "2 rows added, 0 changed, 0 bad lines",
        "0 rows added, 0 changed, 0 bad lines",
        '{"applied":3,"ignored":0,"unusable_addresses":0}',
    ]
    members = {key: dates for key, dates in (await storefront.members()).items() if key[0] == 7}
    assert members == {
        (7, "ann@example.com"): {"customer": datetime(2025, 6, 1, 8, tzinfo=UTC)},
        (7, "cid@example.com"): {"follower": datetime(2025, 3, 1, 10, tzinfo=UTC)},
    }


BROKEN = 31


async def imports(stack: Stack) -> tuple[ImportProgress, list[RejectedLine]]:
    """Import sixty followers of seller 8, one of them broken, in batches of seven."""
    lines = [f"f-{n},8,fan{n}@x.co,2025-03-01T10:00:00Z,2025-03-01" for n in range(60)]
    lines[BROKEN] = "f-31,8,fan31@x.co,yesterday,"
    text = "\n".join(["key,seller_id,email,created_at,confirmed_at", *lines])
    file = io.BufferedReader(io.BytesIO(text.encode()))
    rejected: list[RejectedLine] = []
    target = await source_table(stack.settings["DATABASE_URL"], FOLLOWER)
    imported = await import_batches(
        stack.settings["DATABASE_URL"],
        BatchReader(read_records(file), target, streams=2, batch_lines=7),
        lambda _, found: rejected.extend(found),
        streams=2,
    )
    return imported, rejected


async def test_batches_of_an_import_share_sessions_without_meeting(
    stack: Stack, storefront: Storefront
) -> None:
    for added in (59, 0):
        imported, rejected = await imports(stack)
        assert (imported.records, imported.written.rows) == (60, added)
        assert [each.line for each in rejected] == [BROKEN + 2]
    members = {key for key in await storefront.members() if key[0] == 8}
    assert members == {(8, f"fan{n}@x.co") for n in range(60) if n != BROKEN}
