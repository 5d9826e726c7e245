"""Bring a database to the newest schema, as ``alembic upgrade head`` does in production."""

import subprocess
import sys
from collections.abc import Mapping

from devstack.sandbox import ServerFailed, base_environment
from devstack.service import ROOT


def migrate(settings: Mapping[str, str]) -> None:
    """Run Alembic on ``settings["DATABASE_URL"]``.

    Raises:
        ServerFailed: a migration failed; the text is Alembic's.
    """
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
        env=base_environment() | dict(settings),
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise ServerFailed(f"alembic upgrade head: {done.stderr.strip()}")
