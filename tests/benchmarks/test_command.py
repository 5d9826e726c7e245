"""``python -m benchmarks``, small enough for a test."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.harness.options import parse
from benchmarks.registry import DEFAULT, PARTS
from benchmarks.scenarios.checksums import ROUNDS
from devstack.sandbox import base_environment
from devstack.service_processes import ROOT

FEEDS = ("import", "events", "logical replication")


def test_a_small_run_writes_its_results_after_each_part(tmp_path: Path) -> None:
    parts = ("--only", "latency,guard,checksums,large,feeds", "--runs", "1")
    size = ("--rows", "2000", "--feed-rows", "2000", "--latency-runs", "2")
    command = [sys.executable, "-m", "benchmarks", *parts, *size, "--results", str(tmp_path)]
    results = tmp_path / "latest.json"

    with subprocess.Popen(
        command, cwd=ROOT, env=base_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        first = json.loads(until_written(running, results))
        printed, _ = running.communicate(timeout=240)

    assert running.returncode == 0, printed.decode()
    assert not first["comparisons"]
    written = json.loads(results.read_text())
    for figures in (first["figures"], written["figures"]):
        latency = next(each for each in figures if each["name"].endswith("POST to success"))
        assert len(latency["samples"]) == 2
    guard = next(each for each in written["figures"] if each["name"].endswith("guarded over not"))
    assert len(guard["samples"]) == 1
    cost = next(each for each in written["figures"] if each["name"].endswith("with over without"))
    assert len(cost["samples"]) == ROUNDS
    fed = [each["median"] for each in written["figures"] if each["name"].startswith(FEEDS)]
    assert len(fed) == 7
    assert min(fed) > 0
    comparison = written["comparisons"][0]
    assert comparison["rows"] == 2000
    assert [each["bytes"] > 0 for each in comparison["contenders"]] == [False, True, True]
    assert "| figure |" in (tmp_path / "latest.md").read_text()


def until_written(running: "subprocess.Popen[bytes]", results: Path) -> str:
    """Wait for the first results and return them; the file is there at once, and whole."""
    deadline = time.monotonic() + 240
    while not results.exists():
        assert running.poll() is None, running.communicate()[0].decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return results.read_text()


def test_a_part_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(PARTS, DEFAULT, ["--only", "large,smal"])

    assert "no such part: smal" in capsys.readouterr().err


def test_parts_that_take_long_or_need_more_are_chosen_on_request_only() -> None:
    left_out = set(PARTS) - set(parse(PARTS, DEFAULT, []).only)
    assert left_out == {"scale", "citus", "simulation"}
