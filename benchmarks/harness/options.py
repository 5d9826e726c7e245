"""Command line options: which scenarios, sizes and numbers of runs."""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devstack.service_processes import ROOT

RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Options:
    """The parsed options; the defaults take about five minutes on two cores."""

    only: tuple[str, ...]
    rows: int
    peer_rows: int
    huge_rows: int
    huge_runs: int
    growth_rows: int
    growth_runs: int
    max_run_s: float
    purchases: int
    feed_rows: int
    small_exports: int
    runs: int
    latency_runs: int
    load_s: float
    workers: int
    idle_s: float
    members: int
    results: Path
    image: Path

    @property
    def growing(self) -> "Options":
        """These options with the number of runs for the growth curve."""
        return replace(self, runs=self.growth_runs)


def parse(
    parts: Collection[str], chosen: Collection[str], arguments: Sequence[str] | None = None
) -> Options:
    """Parse the command line; ``parts`` are all scenarios, ``chosen`` the default ones."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=_Help
    )
    add = parser.add_argument
    add("--only", default=",".join(chosen), help="parts, separated by commas")
    add("--rows", type=int, default=2_500_000, help="members of the large export")
    add("--peer-rows", type=int, default=250_000, help="members where slow peers take part")
    add("--huge-rows", type=int, default=10_000_000, help="members of the largest export")
    add("--huge-runs", type=int, default=3, help="samples of its figures")
    add("--growth-rows", type=int, default=1_000_000, help="where the growth curve ends")
    add("--growth-runs", type=int, default=1, help="samples of each of its points")
    add("--max-run-s", type=float, default=5, help="nobody grows to a size that takes longer")
    add("--purchases", type=int, default=1_000_000, help="purchases of the bulk load")
    add("--feed-rows", type=int, default=120_000, help="rows that are fed")
    add("--small-exports", type=int, default=200, help="exports of 500 rows in a burst")
    add("--runs", type=int, default=5, help="samples of each figure")
    add("--latency-runs", type=int, default=30, help="samples of the idle latency")
    add("--load-s", type=float, default=1, help="seconds of load on the API in each run")
    add("--workers", type=int, default=12, help="idle workers of the largest fleet")
    add("--idle-s", type=float, default=30, help="seconds in which each fleet is watched")
    add("--members", type=int, default=50_000_000, help="members in the large table of scale")
    add("--results", type=Path, default=RESULTS, help="folder of latest.json and latest.md")
    add("--image", type=Path, default=ROOT / "docs" / "images" / "growth.png", help="the plot")
    given = parser.parse_args(arguments)
    only = tuple(part.strip() for part in given.only.split(","))
    unknown = set(only) - set(parts)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    return Options(**{**vars(given), "only": only})


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """A help formatter that shows every default."""
