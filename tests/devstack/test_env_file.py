"""The environment file."""

import stat
import subprocess
from pathlib import Path

from devstack import env_file

NASTY = {
    "PLAIN": "postgresql://user:secret@127.0.0.1:5432/name?sslmode=require",
    "EMPTY": "",
    "QUOTED": """it's "$HOME" `id` $(id) \\ & ; | <a@b.co> *""",
}


def test_a_shell_reads_every_value_as_it_was(tmp_path: Path) -> None:
    env_file.write(tmp_path / "env", NASTY)

    script = 'set -a; . ./env; env -0 | grep -zE "^(PLAIN|EMPTY|QUOTED)="'
    seen = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=True)

    lines = seen.stdout.decode().strip("\0").split("\0")
    assert dict(line.split("=", 1) for line in lines) == NASTY


def test_it_is_for_its_owner_only_and_leaves_nothing_beside(tmp_path: Path) -> None:
    env_file.write(tmp_path / "env", NASTY)

    assert [path.name for path in tmp_path.iterdir()] == ["env"]
    assert stat.S_IMODE((tmp_path / "env").stat().st_mode) == 0o600
