"""The results for people, for machines and for the README."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Bound, Contest, Figure
from benchmarks.outcome import Outcome
from benchmarks.verdicts import Verdict, verdicts

MB = 1_000_000
RESULTS = "latest.json"
SUMMARY = "latest.md"
MISSED = "missed"
MEASURES = ("seconds", "cpu_s", "peak_bytes")


@dataclass(frozen=True)
class Report:
    """Everything one run found out."""

    taken_at: datetime
    machine: dict[str, Any]
    versions: dict[str, str]
    options: dict[str, Any]
    outcomes: tuple[Outcome, ...]

    @property
    def figures(self) -> list[Figure]:
        """The figures of all parts, in order."""
        return [figure for outcome in self.outcomes for figure in outcome.figures]

    @property
    def contests(self) -> list[Contest]:
        """The contests of all parts, in order."""
        return [contest for outcome in self.outcomes for contest in outcome.contests]

    @property
    def curves(self) -> list[Contest]:
        """The contests at growing sizes."""
        return [contest for outcome in self.outcomes for contest in outcome.curves]

    def write(self, folder: Path) -> None:
        """Write ``latest.json`` and ``latest.md``; each is whole at any time."""
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / RESULTS, json.dumps(self.as_json(), indent=2) + "\n")
        replace(folder / SUMMARY, self.as_markdown())

    def as_json(self) -> dict[str, Any]:
        """Return all of it, every sample included, as what JSON can hold."""
        return {
            "date": self.taken_at.isoformat(timespec="seconds"),
            "machine": self.machine,
            "versions": self.versions,
            "options": self.options,
            "verdicts": [verdict_json(verdict) for verdict in verdicts(self.figures)],
            "figures": [figure_json(figure) for figure in self.figures],
            "contests": [contest_json(contest) for contest in self.contests],
            "curves": [contest_json(contest) for contest in self.curves],
        }

    def as_markdown(self) -> str:
        """Return the tables with the date and the machine, for the README to quote."""
        machine, versions = self.machine, self.versions
        where = f"{machine['cores']} cores ({machine['processor']})"
        with_what = f"Python {versions['python']}, PostgreSQL {versions['postgresql']}"
        runs = f"medians of {self.options['runs']} runs"
        blocks = [f"{self.taken_at:%Y-%m-%d}, {where}, {with_what}; {runs}."]
        blocks.append(markdown(verdict_rows(verdicts(self.figures))))
        if self.figures:
            blocks.append(markdown(figure_rows(self.figures)))
        for contest in self.contests:
            title = f"{contest.name}, {contest.rows:,} rows:"
            blocks.append(f"{title}\n\n{markdown(contest_rows(contest))}")
        return "\n\n".join(blocks) + "\n"

    def show(self, console: Console) -> None:
        """Print the tables."""
        for contest in self.contests:
            console.print(table(f"{contest.name}, {contest.rows:,} rows", contest_rows(contest)))
        if self.figures:
            console.print(table("Figures", figure_rows(self.figures)))
        console.print(table("Verdicts", verdict_rows(verdicts(self.figures))))


def replace(file: Path, text: str) -> None:
    """Write a file in one step."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a promise with what was measured, ``None`` where nothing was."""
    return {
        "promise": verdict.promise.name,
        "target": asked(verdict.promise),
        "figure": verdict.figure and verdict.figure.name,
        "measured": verdict.figure and verdict.figure.value,
        "verdict": verdict.words,
    }


def figure_json(figure: Figure) -> dict[str, Any]:
    """Return a figure with its samples and what was asked of it."""
    facts = {"name": figure.name, "unit": figure.unit, "median": figure.value}
    bounds = {"target": figure.target, "goal": figure.goal}
    judged = {
        name: bound and {**asdict(bound), "verdict": bound.verdict(figure.value)}
        for name, bound in bounds.items()
    }
    return {**facts, **judged, "samples": list(figure.samples)}


def contest_json(contest: Contest) -> dict[str, Any]:
    """Return a contest with all samples of every contender."""
    contenders = [
        {
            "name": entry.name,
            "median_s": entry.median("seconds"),
            **{measure: list(entry.samples(measure)) for measure in MEASURES},
            "bytes": entry.runs[0].bytes,
        }
        for entry in contest.entries
    ]
    return {
        "name": contest.name,
        "rows": contest.rows,
        "against": contest.against,
        "contenders": contenders,
    }


def verdict_rows(given: list[Verdict]) -> list[list[str]]:
    """Return a table of verdicts: a heading and a line for each."""
    return [["figure", "target", "measured", "verdict"]] + [
        [
            verdict.name,
            asked(verdict.promise),
            number(verdict.figure.value) if verdict.figure else "",
            verdict.words,
        ]
        for verdict in given
    ]


def figure_rows(figures: list[Figure]) -> list[list[str]]:
    """Return a table of figures: a heading and a line for each."""
    heading = ["figure", "median", "from - to", "runs", "target", "goal"]
    return [heading] + [
        [
            figure.name,
            f"{number(figure.value)} {figure.unit}".strip(),
            f"{number(min(figure.samples))} - {number(max(figure.samples))}",
            str(len(figure.samples)),
            judged(figure.target, figure.value),
            judged(figure.goal, figure.value),
        ]
        for figure in figures
    ]


def judged(bound: Bound | None, value: float) -> str:
    """Return a bound and whether ``value`` keeps it."""
    if bound is None:
        return ""
    return f"{asked(bound)} {bound.verdict(value)}"


def asked(bound: Bound) -> str:
    """Return a bound in signs."""
    return f"{'>=' if bound.at_least else '<='} {number(bound.value)}"


def contest_rows(contest: Contest) -> list[list[str]]:
    """Return a table of a contest: a heading and a line for each contender."""
    heading = ["", "seconds", f"x {contest.against.split()[0]}", "peak memory", "processor"]
    return [heading] + [
        [
            entry.name,
            number(entry.median("seconds")),
            number(Figure("", contest.ratios(entry.name)).value),
            f"{entry.median('peak_bytes') / MB:.0f} MB",
            f"{number(entry.median('cpu_s'))} s",
        ]
        for entry in contest.entries
    ]


def number(value: float) -> str:
    """Return a number with about three digits that mean something."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


def markdown(rows: list[list[str]]) -> str:
    """Return a table in Markdown whose first row is the heading."""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table(title: str, rows: list[list[str]]) -> Table:
    """Return a table for the terminal whose first row is the heading."""
    shown = Table(title=title, title_justify="left")
    for index, heading in enumerate(rows[0]):
        shown.add_column(heading, justify="right" if index else "left")
    for cells in rows[1:]:
        shown.add_row(*cells, style="red" if any(MISSED in cell for cell in cells) else "")
    return shown
