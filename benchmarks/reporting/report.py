"""The results as terminal tables, JSON and Markdown."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.reporting.figures import Bound, Comparison, Figure
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.verdicts import Verdict, verdicts

MB = 1_000_000
RESULTS = "latest.json"
SUMMARY = "latest.md"
MISSED = "missed"
MEASURES = ("seconds", "cpu_s", "peak_bytes")


@dataclass(frozen=True)
class Report:
    """All results of one run."""

    taken_at: datetime
    machine: dict[str, Any]
    versions: dict[str, str]
    options: dict[str, Any]
    outcomes: tuple[ScenarioResult, ...]

    @property
    def figures(self) -> list[Figure]:
        """The figures of all scenarios, in order."""
        return [figure for outcome in self.outcomes for figure in outcome.figures]

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons of all scenarios, in order."""
        return [comparison for outcome in self.outcomes for comparison in outcome.comparisons]

    @property
    def curves(self) -> list[Comparison]:
        """The comparisons at growing sizes."""
        return [comparison for outcome in self.outcomes for comparison in outcome.curves]

    def write(self, folder: Path) -> None:
        """Write ``latest.json`` and ``latest.md``, each atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / RESULTS, json.dumps(self.as_json(), indent=2) + "\n")
        replace(folder / SUMMARY, self.as_markdown())

    def as_json(self) -> dict[str, Any]:
        """Return all results, every sample included, as JSON-serialisable values."""
        return {
            "date": self.taken_at.isoformat(timespec="seconds"),
            "machine": self.machine,
            "versions": self.versions,
            "options": self.options,
            "verdicts": [verdict_json(verdict) for verdict in verdicts(self.figures)],
            "figures": [figure_json(figure) for figure in self.figures],
            "comparisons": [comparison_json(comparison) for comparison in self.comparisons],
            "curves": [comparison_json(comparison) for comparison in self.curves],
        }

    def as_markdown(self) -> str:
        """Return the tables with the date and the machine, for the documentation."""
        machine, versions = self.machine, self.versions
        where = f"{machine['cores']} cores ({machine['processor']})"
        with_what = f"Python {versions['python']}, PostgreSQL {versions['postgresql']}"
        runs = f"medians of {self.options['runs']} runs"
        blocks = [f"{self.taken_at:%Y-%m-%d}, {where}, {with_what}; {runs}."]
        blocks.append(markdown(verdict_rows(verdicts(self.figures))))
        if self.figures:
            blocks.append(markdown(figure_rows(self.figures)))
        for comparison in self.comparisons:
            title = f"{comparison.name}, {comparison.rows:,} rows:"
            blocks.append(f"{title}\n\n{markdown(comparison_rows(comparison))}")
        return "\n\n".join(blocks) + "\n"

    def show(self, console: Console) -> None:
        """Print the tables."""
        for comparison in self.comparisons:
            title = f"{comparison.name}, {comparison.rows:,} rows"
            console.print(table(title, comparison_rows(comparison)))
        if self.figures:
            console.print(table("Figures", figure_rows(self.figures)))
        console.print(table("Verdicts", verdict_rows(verdicts(self.figures))))


def replace(file: Path, text: str) -> None:
    """Replace a file atomically."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return a target with its measured value, ``None`` where nothing was measured."""
    return {
        "name": verdict.target.name,
        "target": target_cell(verdict.target),
        "figure": verdict.figure and verdict.figure.name,
        "measured": verdict.figure and verdict.figure.value,
        "verdict": verdict.words,
    }


def figure_json(figure: Figure) -> dict[str, Any]:
    """Return a figure with its samples and its target."""
    bounds = {
        name: bound and {**asdict(bound), "verdict": bound.verdict(figure.value)}
        for name, bound in (("target", figure.target), ("goal", figure.goal))
    }
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": figure.value,
        **bounds,
        "samples": list(figure.samples),
    }


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison with all samples of every contender."""
    contenders = [
        {
            "name": entry.name,
            "median_s": entry.median("seconds"),
            **{measure: list(entry.samples(measure)) for measure in MEASURES},
            "bytes": entry.runs[0].bytes,
        }
        for entry in comparison.entries
    ]
    return {
        "name": comparison.name,
        "rows": comparison.rows,
        "against": comparison.against,
        "contenders": contenders,
    }


def verdict_rows(given: list[Verdict]) -> list[list[str]]:
    """Return a table of verdicts: a heading and a line for each."""
    return [["figure", "target", "measured", "verdict"]] + [
        [
            verdict.name,
            target_cell(verdict.target),
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
            verdict_cell(figure.target, figure.value),
            verdict_cell(figure.goal, figure.value),
        ]
        for figure in figures
    ]


def verdict_cell(bound: Bound | None, value: float) -> str:
    """Return the cell that says whether ``value`` meets the target."""
    if bound is None:
        return ""
    return f"{target_cell(bound)} {bound.verdict(value)}"


def target_cell(bound: Bound) -> str:
    """Return a target as text, such as ``≤ 2 s``."""
    return f"{'>=' if bound.at_least else '<='} {number(bound.value)}"


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    """Return a table of a comparison: a heading and a line for each contender."""
    heading = ["", "seconds", f"x {comparison.against.split()[0]}", "peak memory", "processor"]
    return [heading] + [
        [
            entry.name,
            number(entry.median("seconds")),
            number(Figure("", comparison.ratios(entry.name)).value),
            f"{entry.median('peak_bytes') / MB:.0f} MB",
            f"{number(entry.median('cpu_s'))} s",
        ]
        for entry in comparison.entries
    ]


def number(value: float) -> str:
    """Return a number with about three significant digits."""
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
