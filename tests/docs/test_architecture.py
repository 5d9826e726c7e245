"""docs/architecture.md shows the folders there are, and pages name files there are."""

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from app.models import STATUSES
from devstack.service_processes import ROOT
from tests.docs.pages import pages, state_transitions

ENTRY = re.compile(r"^( *)([\w.]+/?)(?:  .*)?$")
NAMED = re.compile(r"`((?:app|workers|tests|devstack|migrations|benchmarks|ops|docs)/[\w./-]+)`")
TEST_FOLDERS = re.compile(r"also (.*)$", re.MULTILINE)

EXAMPLES = {"migrations/versions/subscribers.py"}
GENERATED = "benchmarks/results/"


def tracked() -> set[PurePosixPath]:
    """Return the repository's files."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {PurePosixPath(line) for line in listed.stdout.splitlines()}


def folders() -> set[str]:
    """Return the top folders, and those of ``app`` with what is below them."""
    parents = {parent for file in tracked() for parent in file.parents}
    names = {str(parent) for parent in parents if not str(parent).startswith(".")}
    return {name for name in names if ("/" not in name or name.startswith("app/"))}


def tree() -> str:
    """Return the page's tree."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    return page.split("## The tree\n")[1].split("```")[1]


def shown() -> set[str]:
    """Return the paths of the page's tree; a folder ends with a slash."""
    paths: set[str] = set()
    above: list[str] = []
    for line in tree().strip().splitlines():
        found = ENTRY.match(line)
        assert found, line
        above = above[: len(found[1]) // 2]
        paths.add("".join([*above, found[2]]))
        above.append(found[2])
    return paths


def test_the_tree_shows_the_folders_there_are() -> None:
    shown_folders = {path.rstrip("/") for path in shown() if path.endswith("/")}
    assert shown_folders == folders()


def test_the_diagrams_show_the_same_states_and_all_of_them() -> None:
    edges = state_transitions("architecture.md")
    assert edges == state_transitions("troubleshoot.md")
    assert {state for edge in edges for state in edge} == {*STATUSES, "[*]"}


def test_the_files_of_the_tree_exist() -> None:
    assert [path for path in shown() if not (ROOT / path).exists()] == []


def test_the_tests_that_mirror_nothing_exist() -> None:
    (line,) = TEST_FOLDERS.findall(tree())
    assert all((ROOT / "tests" / name).is_dir() for name in re.findall(r"(\w+)/", line))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_paths_that_a_page_names_exist(page: Path) -> None:
    named = {path for path in NAMED.findall(page.read_text()) if not path.startswith(GENERATED)}
    assert {path for path in named - EXAMPLES if not (ROOT / path).exists()} == set()
