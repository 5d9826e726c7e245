"""The commands of docs/walkthrough.md run unchanged."""

import os
import re
import subprocess

import pytest

from devstack.service_processes import ROOT
from tests.end_to_end.conftest import Stack


def block(language: str) -> str:
    """Return the page's only fenced block of a language."""
    page = (ROOT / "docs" / "walkthrough.md").read_text()
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.curl
def test_the_curl_lines_work_and_print_the_list_shown(stack: Stack) -> None:
    script = block("sh").replace("/tmp/audience-export.env", str(stack.env_file))  # noqa: S108 - the page's words
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(block("csv")) == 2
    assert '"status":"deleted"' in ran.stdout
