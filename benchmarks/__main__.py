"""``python -m benchmarks``: measure, print the tables, write the results."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime

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


def main() -> int:
    """Run the chosen parts; return 1 when one of them fails, which no missed target does."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    options = parse(PARTS, DEFAULT)
    try:
        with until_stopped(), Sandbox() as sandbox:
            report = measure(console, sandbox, options)
            report.show(console)
            report.write(options.results)
            draw(report, options)
            console.print(f"Every sample is in {options.results / RESULTS}.", soft_wrap=True)
            return 1 if any(outcome.failure for outcome in report.outcomes) else 0
    except ServerFailed as error:
        console.print(Text(f"The benchmarks cannot start: {error}", "red"))
    return 1


def measure(console: Console, sandbox: Sandbox, options: Options) -> Report:
    """Start everything, run the parts one after the other and return what they found."""
    if not PEERS_PYTHON.exists():
        console.print("The peers are left out: make bench installs what they need.")
    taken_at, facts = datetime.now(UTC), machine.facts()
    with console.status("Starting PostgreSQL, Redis, the endpoints and the API …"):
        stage = Stage(sandbox)
    outcomes = tuple(run(console, part, stage, options) for part in options.only)
    asked = {name: str(value) for name, value in asdict(options).items()} | {"runs": options.runs}
    versions = machine.versions(stage.query("SHOW server_version"))
    return Report(taken_at, facts, versions, asked, outcomes)


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
    except (BenchmarkFailed, ServerFailed) as error:
        console.print(Text(f"{part}: {error}", "red"))
        return Outcome(failure=str(error))
    seconds = (datetime.now(UTC) - started_at).total_seconds()
    console.print(f"{part}: measured in {seconds:.0f} s")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
