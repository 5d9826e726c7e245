"""The integration page's walk through the feeds is run as it stands."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from devstack.service import ROOT
from tests.audience.storefront import Storefront
from tests.end_to_end.conftest import Stack

SECTIONS = ("Feeding in bulk, from files", "Feeding over HTTP, with events")


def commands(heading: str) -> str:
    """Return the commands of a section of the integration page."""
    page = (ROOT / "docs" / "integration.md").read_text()
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(found)


def run(stack: Stack, script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run commands in a folder, in the stack's environment."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=stack.environment | {"PATH": path, "HOME": os.fspath(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


async def test_files_and_events_end_in_the_audience_they_tell(
    stack: Stack, storefront: Storefront, tmp_path: Path
) -> None:
    ran = run(stack, "\n".join(map(commands, SECTIONS)), tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "2 lines, 0 bad; nothing written",
        "2 rows added, 0 changed, 0 bad lines",
        "0 rows added, 0 changed, 0 bad lines",
        '{"applied":3,"ignored":0}',
    ]
    members = {key: dates for key, dates in (await storefront.members()).items() if key[0] == 7}
    assert members == {
        (7, "ann@example.com"): {"customer": datetime(2025, 6, 1, 8, tzinfo=UTC)},
        (7, "cid@example.com"): {"follower": datetime(2025, 3, 1, 10, tzinfo=UTC)},
    }
