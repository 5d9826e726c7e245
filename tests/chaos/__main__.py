"""``python -m tests.chaos``: runs chaos, by default for long, and prints a table."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests import previous_version
from tests.chaos.run import LONG, SHORT, RunResult, run
from tests.chaos.upgrade import LONG_UPGRADE, SHORT_COURSE, SHORT_UPGRADE, Upgrade

SEEDS = 1_000_000


def main() -> int:
    """Run once; return 1 when an invariant is violated."""
    arguments = parse()
    if arguments.upgrade and not previous_version.available():
        print(f"skipped: {previous_version.MISSING}")
        return 0
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(run_as_asked(arguments, Path(folder)))
    print(table(outcome, arguments.seed))
    return 1 if outcome.verdict.faults else 0


async def run_as_asked(arguments: argparse.Namespace, folder: Path) -> RunResult:
    """Run what the command line asks for; ``folder`` is empty."""
    if not arguments.upgrade:
        return await run(SHORT if arguments.short else LONG, arguments.seed)
    if arguments.short:
        return await run(SHORT_UPGRADE, arguments.seed, Upgrade(folder, SHORT_COURSE))
    return await run(LONG_UPGRADE, arguments.seed, Upgrade(folder))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(SEEDS), help="of the dice")
    parser.add_argument("--short", action="store_true", help="30 exports instead of 200")
    parser.add_argument("--upgrade", action="store_true", help="from the version before to this")
    return parser.parse_args()


def figures(outcome: RunResult, seed: int) -> dict[str, object]:
    """Return the figures of a run by their names in ``docs/chaos.md``."""
    return {
        "seed": seed,
        **outcome.verdict.figures,
        "seconds from the last fault to idle": f"{outcome.idle_s:.1f}",
        "faults": sum(outcome.faults.values()),
        "checks failed": len(outcome.verdict.faults),
    }


def table(outcome: RunResult, seed: int) -> str:
    """Return the figures and the faults by kind as a Markdown table, then the failed checks."""
    faults = sorted(outcome.faults.items(), key=lambda item: -item[1])
    rows = [*figures(outcome, seed).items(), *((f"… {name}", number) for name, number in faults)]
    lines = ["| | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, *outcome.verdict.faults])


if __name__ == "__main__":
    sys.exit(main())
