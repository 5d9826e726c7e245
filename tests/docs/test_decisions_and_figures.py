"""Decisions have one form, and figures are the same on every page."""

import re
from pathlib import Path

import pytest

from devstack.postgres import FAST
from devstack.service_processes import ROOT

DECISIONS = sorted((ROOT / "docs" / "adr").glob("0*.md"))
NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
]


def text(path: str) -> str:
    """Return a page on one line."""
    return " ".join((ROOT / path).read_text().split())


@pytest.mark.parametrize("record", DECISIONS, ids=lambda record: record.stem)
def test_a_decision_has_status_date_context_and_consequences(record: Path) -> None:
    page = record.read_text()
    assert re.search(r"^\*\*Status\*\* \w+ · \*\*Date\*\* \d{4}-\d\d-\d\d", page, re.MULTILINE)
    for part in ("Context", "Decision", "Consequences"):
        assert f"**{part}.**" in page


def test_every_decision_is_listed_under_its_title() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    for record in DECISIONS:
        number, _, title = record.read_text().splitlines()[0].removeprefix("# ").partition(". ")
        assert f"| [{number}]({record.name}) | {title} |" in listed


def test_the_readme_counts_the_targets_and_those_missed() -> None:
    table = text("docs/benchmarks.md").split("## Missed targets")[0]
    missed = len(re.findall(r"\| missed by ", table))
    every = missed + len(re.findall(r"\| pass \|", table))
    assert f"[all {NUMBERS[every]} targets, {NUMBERS[missed]} of them missed]" in text("README.md")
    assert f"{NUMBERS[missed].capitalize()} of {NUMBERS[every]} targets are missed" in table


def test_figures_stand_beside_what_the_servers_ran_with() -> None:
    for page in ("README.md", "docs/benchmarks.md", "docs/scaling.md"):
        for setting in ("fsync", "full_page_writes"):
            assert f"{setting} = {FAST[setting]}" in text(page)


def test_a_member_has_the_same_size_everywhere() -> None:
    for page in ("README.md", "docs/deploy.md", "docs/scaling.md"):
        assert set(re.findall(r"(\d+) bytes", text(page))) & {"170", "190", "220", "250"} == {"220"}
