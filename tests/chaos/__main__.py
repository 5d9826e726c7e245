"""``python -m tests.chaos``: a run of chaos, the long one by default, and its table."""

import argparse
import asyncio
import random
import sys

from tests.chaos.run import LONG, SHORT, Outcome, run

SEEDS = 1_000_000


def main() -> int:
    """Run once and return 1 when something did not hold."""
    arguments = parse()
    print(f"seed {arguments.seed}", flush=True)
    outcome = asyncio.run(run(SHORT if arguments.short else LONG, arguments.seed))
    print(table(outcome, arguments.seed))
    return 1 if outcome.verdict.faults else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(SEEDS), help="of the dice")
    parser.add_argument("--short", action="store_true", help="30 exports instead of 200")
    return parser.parse_args()


def table(outcome: Outcome, seed: int) -> str:
    """Return what happened as a table in Markdown, and what did not hold below."""
    faults = sorted(outcome.faults.items(), key=lambda item: -item[1])
    rows = [
        ("seed", seed),
        *outcome.verdict.figures.items(),
        ("seconds from the last fault to rest", f"{outcome.rest_s:.1f}"),
        ("faults", sum(outcome.faults.values())),
        *((f"… {name}", number) for name, number in faults),
        ("what did not hold", len(outcome.verdict.faults)),
    ]
    lines = ["| | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join([*lines, *outcome.verdict.faults])


if __name__ == "__main__":
    sys.exit(main())
