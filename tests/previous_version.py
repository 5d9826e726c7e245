"""The version before this one: its code, for processes beside those of this one."""

import subprocess
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

from devstack.service_processes import ROOT

COMMIT = "7c1b6af96455738fe9e18c0c3a2d47ac096d0067"
"""What landed last before this version. Its migrations are never edited: databases have them."""

MISSING = f"the version before, commit {COMMIT[:12]}, is not in this checkout's history"

CODE = ("app", "workers", "migrations", "alembic.ini")


@cache
def available() -> bool:
    """Return whether this is a clone whose history has the commit."""
    try:
        return _git("cat-file", "-e", f"{COMMIT}^{{commit}}").returncode == 0
    except FileNotFoundError:
        return False


def unpack(folder: Path) -> Path:
    """Write the code of the version before into a folder, and return the folder.

    It runs with the packages that are installed for this version.
    """
    archive = _git("archive", "--format=zip", COMMIT, *CODE)
    archive.check_returncode()
    with zipfile.ZipFile(BytesIO(archive.stdout)) as file:
        file.extractall(folder)
    return folder


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    # The checkout may be another user's, as where continuous integration mounts it.
    return subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(ROOT), *arguments],
        capture_output=True,
        check=False,
    )
