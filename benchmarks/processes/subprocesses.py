"""Runs jobs in subprocesses and reads their measurements."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.processes.in_process import peak_bytes
from devstack.sandbox import base_environment
from devstack.service_processes import ROOT

PEERS_PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"
"""The environment of the alternatives, which ``make bench`` installs."""

TIMEOUT_S = 900
POLL_S = 0.01
TIMING = re.compile(r"^Time: ([\d.]+) ms", re.MULTILINE)


class BenchmarkFailed(Exception):
    """A figure could not be measured; the message says why."""


@dataclass(frozen=True)
class Measurement:
    """The measurement of one run; ``bytes`` is the size of the file, 0 where there is none."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    bytes: int = 0


def run_module(module: str, spec: Mapping[str, Any], python: str | Path = sys.executable) -> Any:
    """Run a module of the benchmarks with ``spec`` and return the JSON that it prints.

    Raises:
        BenchmarkFailed: it fails.
    """
    return json.loads(run_program(python, "-m", module, json.dumps(spec)))


def run_program(*command: str | Path) -> str:
    """Run a program and return its output.

    Raises:
        BenchmarkFailed: it fails.
    """
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=base_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode != 0:
        raise BenchmarkFailed(f"{command[2]}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def run_peer(name: str, spec: Mapping[str, Any]) -> Measurement:
    """Run one of the alternatives that write a file."""
    measured = run_module(f"benchmarks.alternatives.{name}", spec, PEERS_PYTHON)
    return Measurement(**measured)


def run_psql(psql: Path, dsn: str, commands: Sequence[str]) -> Measurement:
    """Run psql with ``commands``; return psql's own timing of the last one.

    Raises:
        BenchmarkFailed: psql fails.
    """
    script = "\n".join([r"\timing on", *commands])
    command = [str(psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(script)
        process.stdin.close()
        peak, cpu_s = _watch(process)
        printed = process.stdout.read()
    times = TIMING.findall(printed)
    if process.returncode != 0 or not times:
        raise BenchmarkFailed(f"psql: {printed.strip()[-2000:]}")
    return Measurement(seconds=float(times[-1]) / 1000, cpu_s=cpu_s, peak_bytes=peak)


def _watch(process: "subprocess.Popen[str]") -> tuple[int, float]:
    """Return peak memory and processor time, as last sampled before the process ended."""
    peak, cpu_s = 0, 0.0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = peak_bytes(process.pid)
            used = watched.cpu_times()
        except (psutil.Error, OSError, StopIteration):
            continue  # the process has just ended
        cpu_s = used.user + used.system
        time.sleep(POLL_S)
    return peak, cpu_s
