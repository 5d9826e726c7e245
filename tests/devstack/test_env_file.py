"""The environment file."""

import stat
import subprocess
from pathlib import Path

import pytest

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


def test_it_replaces_what_was_written_here_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "env").touch()

    env_file.write(tmp_path / "env", {"A": "1"})
    env_file.write(tmp_path / "env", {"A": "2"})

    assert "A=2\n" in (tmp_path / "env").read_text()


def test_it_consists_of_assignments_alone(tmp_path: Path) -> None:
    env_file.write(tmp_path / "env", {"A": "1", "B": ""})

    assert all("=" in line for line in (tmp_path / "env").read_text().splitlines())


@pytest.mark.parametrize("content", ["A=1\n", "DEVSTACK_CHECKSUM=0\nA=1\n"])
def test_a_file_of_somebody_elses_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "env").write_text(content)

    for replace in (env_file.remove, lambda path: env_file.write(path, NASTY)):
        with pytest.raises(env_file.FileRefused, match="not written by devstack"):
            replace(tmp_path / "env")

    assert (tmp_path / "env").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["env"]


def test_a_file_that_was_edited_is_its_editors(tmp_path: Path) -> None:
    env_file.write(tmp_path / "env", NASTY)
    with (tmp_path / "env").open("a") as file:
        file.write("MINE=1\n")

    with pytest.raises(env_file.FileRefused):
        env_file.write(tmp_path / "env", NASTY)


def test_links_and_folders_are_refused(tmp_path: Path) -> None:
    env_file.write(tmp_path / "target", NASTY)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()

    for name in ("link", "dangling", "folder", "absent/env"):
        with pytest.raises(env_file.FileRefused):
            env_file.write(tmp_path / name, NASTY)
