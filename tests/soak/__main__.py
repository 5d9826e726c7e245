"""``python -m tests.soak``: runs load and faults for an hour, prints slopes, draws a plot."""

import argparse
import asyncio
import json
import random
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.processes.subprocesses import PEERS_PYTHON, run_program
from devstack.service_processes import ROOT
from tests.soak.run import Scale, SoakResult, run

SEEDS = 1_000_000
RESULTS = ROOT / "benchmarks" / "results" / "soak.json"
IMAGE = ROOT / "docs" / "images" / "soak.png"


def main() -> int:
    """Run once; return 1 where a series grows, or something was not as it should be."""
    arguments = parse()
    print(f"seed {arguments.seed}", flush=True)
    started_at = datetime.now(UTC)
    about = {"seed": arguments.seed, "started_at": started_at.isoformat(), **machine.describe()}
    result = asyncio.run(run(Scale(arguments.minutes * 60), arguments.seed))
    arguments.results.write_text(json.dumps(document(result, about), indent=1))
    if PEERS_PYTHON.exists():
        run_program(PEERS_PYTHON, "-m", "tests.soak.plot", arguments.results, arguments.image)
    print(table(result))
    return 1 if result.wrong or any(slope.is_leak for slope in result.slopes) else 0


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="length, a third is warm-up")
    parser.add_argument("--seed", type=int, default=random.randrange(SEEDS), help="of the dice")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the samples, as JSON")
    parser.add_argument("--image", type=Path, default=IMAGE, help="the plot")
    return parser.parse_args()


def document(result: SoakResult, about: dict[str, object]) -> dict[str, object]:
    """Return everything that was measured, for JSON."""
    return {
        "about": about,
        "warm_up_s": result.warm_up_s,
        "slopes": [asdict(slope) | {"is_leak": slope.is_leak} for slope in result.slopes],
        **asdict(result),
    }


def table(result: SoakResult) -> str:
    """Return the slopes as a Markdown table, and below it what was done and what was wrong."""
    lines = [
        "| | | median | an hour | at most | |",
        "| --- | --- | ---: | ---: | ---: | --- |",
        *(
            f"| {each.subject} | {each.measure} | {each.level:,.1f} | {each.per_hour:+,.2f} "
            f"| {each.tolerance:,.0f} | {'grows' if each.is_leak else 'flat'} |"
            for each in result.slopes
        ),
    ]
    figures = ", ".join(f"{number} {name}" for name, number in result.done.items())
    faults = ", ".join(f"{number} {name}" for name, number in result.faults.items())
    minutes = f"{result.scale.seconds / 60:g} minutes"
    return "\n".join([*lines, f"{minutes}: {figures}", f"Faults: {faults}", *result.wrong])


if __name__ == "__main__":
    sys.exit(main())
