"""The migrations' schema with every table of sellers partitioned by a hash of them."""

import re
import subprocess
import sys
from functools import cache

from devstack.sandbox import base_environment
from devstack.service_processes import ROOT


def partitioned(schema: str) -> str:
    """Return the migrations' SQL with every table that has sellers split by a hash of them."""

    def split(created: re.Match[str]) -> str:
        name, body = created[1], created[2]
        if "seller_id" not in body:
            return created[0]
        parts = "".join(
            f"CREATE TABLE {name}_{part} PARTITION OF {name}"
            f" FOR VALUES WITH (MODULUS 3, REMAINDER {part});"
            for part in range(3)
        )
        return f"CREATE TABLE {name} ({body}) PARTITION BY HASH (seller_id);{parts}"

    return re.sub(
        r"CREATE TABLE ([\w.]+) \(((?:';'|[^;])*?)\)(?: WITH \([^;]*?\))?\s*;",
        split,
        schema,
        flags=re.DOTALL,
    )


@cache
def printed(*command: str) -> str:
    """Return what Alembic prints."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *command],
        capture_output=True,
        check=True,
        text=True,
        cwd=ROOT,
        env=base_environment() | {"DATABASE_URL": "postgresql://nowhere"},
    ).stdout
