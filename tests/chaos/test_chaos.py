"""A short chaos run: nothing is lost, stuck or done twice."""

import re

from devstack.service_processes import ROOT
from tests.chaos.__main__ import figures, table
from tests.chaos.run import SHORT, run

PAGE = ROOT / "docs" / "chaos.md"


async def test_every_check_passes_after_faults_of_every_kind(seed: int) -> None:
    outcome = await run(SHORT, seed)
    print(table(outcome, seed))
    assert outcome.verdict.faults == []
    [results] = re.findall(r"^## Results\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    shown = re.findall(r"^\| ([a-z, ]+) \|", results, re.MULTILINE)
    assert list(figures(outcome, seed)) == shown
