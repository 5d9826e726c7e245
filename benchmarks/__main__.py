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

from benchmarks import machine
from benchmarks.catalogue import DEFAULT, PARTS
from benchmarks.jobs import PEERS_PYTHON, BenchmarkFailed, run_program
from benchmarks.options import Options, parse
from benchmarks.outcome import Outcome
from benchmarks.report import RESULTS, Report
from benchmarks.stage import Stage
from devstack.foreground import until_stopped
from devstack.sandbox import Sandbox, ServerFailed

LOG_WIDTH = 120
"""Where nobody says how wide a line may be."""

UNMEASURED = (
    BenchmarkFailed,
    ServerFailed,
    OSError,
    asyncpg.PostgresError,
    httpx.HTTPError,
    subprocess.SubprocessError,
)
"""What ends a part, and no more than that."""


def main() -> int:
    """Run the chosen parts; return 1 when one of them fails, which no missed target does.

    What was measured is written after each part, and shown when we are stopped.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    options = parse(PARTS, DEFAULT)
    report: Report | None = None
    try:
        with until_stopped(), Sandbox() as sandbox:
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
    """Start everything, run the parts one after the other; yield what was found after each."""
    if not PEERS_PYTHON.exists():
        console.print("The peers are left out: make bench installs what they need.")
    taken_at, facts = datetime.now(UTC), machine.facts()
    with console.status("Starting PostgreSQL, Redis, the endpoints and the API …"):
        stage = Stage(sandbox)
    asked = {name: str(value) for name, value in asdict(options).items()} | {"runs": options.runs}
    versions = machine.versions(stage.query("SHOW server_version"))
    outcomes: tuple[Outcome, ...] = ()
    for part in options.only:
        outcomes += (run(console, part, stage, options),)
        yield Report(taken_at, facts, versions, asked, outcomes)


def draw(report: Report, options: Options) -> None:
    """Draw the growth curves, if they were measured."""
    if report.curves and PEERS_PYTHON.exists():
        run_program(PEERS_PYTHON, "-m", "benchmarks.plot", options.results / RESULTS, options.image)


def run(console: Console, part: str, stage: Stage, options: Options) -> Outcome:
    """Run one part, saying so; where it fails the others go on."""
    started_at = datetime.now(UTC)
    try:
        with console.status(f"Measuring: {part} …"):
            outcome = PARTS[part](stage, options)
    except UNMEASURED as error:
        told = f"{type(error).__name__}: {error}"
        console.print(Text(f"{part}: {told}", "red"))
        return Outcome(failure=told)
    seconds = (datetime.now(UTC) - started_at).total_seconds()
    console.print(f"{part}: measured in {seconds:.0f} s")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
