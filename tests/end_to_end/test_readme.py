"""The README's walk through curl is run as it stands."""

import re
import subprocess

from devstack.service import ROOT
from tests.end_to_end.conftest import Stack


def block(language: str) -> str:
    """Return the README's only fenced block of a language."""
    readme = (ROOT / "README.md").read_text()
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_curl_lines_work_and_print_the_list_shown(stack: Stack) -> None:
    script = block("sh").replace("/tmp/audience-export.env", str(stack.env_file))  # noqa: S108 - the README's words
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(block("csv")) == 2
    assert '"status":"deleted"' in ran.stdout
