"""``python -m benchmarks``: measure, print the tables, write the results."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

import asyncpg
import httpx
from rich.console import Console
from rich.text import Text

from benchmarks.harness import machine
from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options, parse
from benchmarks.processes.subprocesses import PEERS_PYTHON, BenchmarkFailed, run_program
from benchmarks.registry import DEFAULT, PARTS
from benchmarks.reporting.report import RESULTS, Report
from benchmarks.reporting.result import ScenarioResult
from devstack.sandbox import Sandbox, ServerFailed
from devstack.signals import run_until_signal

LOG_WIDTH = 120
"""Line width where the output is not a terminal."""

UNMEASURED = (
    BenchmarkFailed,
    ServerFailed,
    OSError,
    asyncpg.PostgresError,
    httpx.HTTPError,
    subprocess.SubprocessError,
)
"""Exceptions that end one scenario; the run continues with the next."""


def main() -> int:
    """Run the selected scenarios; return 1 when one fails. A missed target is not a failure.

    Results are written after each scenario, and printed when the run is interrupted.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    options = parse(PARTS, DEFAULT)
    report: Report | None = None
    try:
        with run_until_signal(), Sandbox() as sandbox:
            for report in reports(console, sandbox, options):
                report.write(options.results)
    except ServerFailed as error:
        console.print(Text(f"The benchmarks cannot start: {error}", "red"))
    if report is None:
        return 1
    report.show(console)
    draw(report, options)
    console.print(f"Every sample is in {options.results / RESULTS}.", soft_wrap=True)
    is_whole = len(report.outcomes) == len(options.only)
    return 0 if is_whole and not any(outcome.failure for outcome in report.outcomes) else 1


def reports(console: Console, sandbox: Sandbox, options: Options) -> Iterator[Report]:
    """Start the environment and run the scenarios in order; yield the report after each."""
    if not PEERS_PYTHON.exists():
        console.print("The peers are left out: make bench installs what they need.")
    taken_at, about_machine = datetime.now(UTC), machine.describe()
    with console.status("Starting PostgreSQL, Redis, the endpoints and the API …"):
        environment = Environment(sandbox)
    settings = {name: str(value) for name, value in asdict(options).items()} | {
        "runs": options.runs
    }
    versions = machine.versions(environment.query("SHOW server_version"))
    outcomes: tuple[ScenarioResult, ...] = ()
    for part in options.only:
        outcomes += (run(console, part, environment, options),)
        yield Report(taken_at, about_machine, versions, settings, outcomes)


def draw(report: Report, options: Options) -> None:
    """Draw the growth curves, if they were measured."""
    if report.curves and PEERS_PYTHON.exists():
        run_program(
            PEERS_PYTHON,
            "-m",
            "benchmarks.reporting.plot",
            options.results / RESULTS,
            options.image,
        )


def run(console: Console, part: str, environment: Environment, options: Options) -> ScenarioResult:
    """Run one scenario; a failure is printed and becomes its result."""
    started_at = datetime.now(UTC)
    try:
        with console.status(f"Measuring: {part} …"):
            outcome = PARTS[part](environment, options)
    except UNMEASURED as error:
        failure = f"{type(error).__name__}: {error}"
        console.print(Text(f"{part}: {failure}", "red"))
        return ScenarioResult(failure=failure)
    seconds = (datetime.now(UTC) - started_at).total_seconds()
    console.print(f"{part}: measured in {seconds:.0f} s")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
