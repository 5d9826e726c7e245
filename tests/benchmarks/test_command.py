"""``python -m benchmarks``, small enough for a test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.catalogue import DEFAULT, PARTS
from benchmarks.options import parse
from devstack.sandbox import base_environment
from devstack.service import ROOT


def test_a_small_run_writes_its_results(tmp_path: Path) -> None:
    size = ("--only", "latency,guard,large", "--rows", "2000", "--runs", "1", "--latency-runs", "2")
    command = [sys.executable, "-m", "benchmarks", *size, "--results", str(tmp_path)]

    done = subprocess.run(
        command, cwd=ROOT, env=base_environment(), capture_output=True, text=True, timeout=240
    )

    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "latest.json").read_text())
    latency = next(each for each in written["figures"] if each["name"].endswith("POST to success"))
    assert len(latency["samples"]) == 2
    guard = next(each for each in written["figures"] if each["name"].endswith("guarded over not"))
    assert len(guard["samples"]) == 1
    contest = written["contests"][0]
    assert contest["rows"] == 2000
    assert [each["bytes"] > 0 for each in contest["contenders"]] == [False, True, True]
    assert "| figure |" in (tmp_path / "latest.md").read_text()


def test_a_part_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(PARTS, DEFAULT, ["--only", "large,smal"])

    assert "no such part: smal" in capsys.readouterr().err


def test_all_parts_but_the_longest_are_chosen_by_default() -> None:
    assert set(PARTS) - set(parse(PARTS, DEFAULT, []).only) == {"scale"}
