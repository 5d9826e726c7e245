"""Migrate a database to the newest schema, with ``alembic upgrade head`` as in production."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack.sandbox import ServerFailed, base_environment
from devstack.service_processes import ROOT


def migrate(settings: Mapping[str, str], *, root: Path = ROOT) -> None:
    """Run Alembic on ``settings["DATABASE_URL"]``, with the migrations of the checkout ``root``.

    Raises:
        ServerFailed: a migration failed; the message is Alembic's.
    """
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        capture_output=True,
        check=False,
        text=True,
        cwd=root,
        env=base_environment() | dict(settings),
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise ServerFailed(f"alembic upgrade head: {done.stderr.strip()}")
