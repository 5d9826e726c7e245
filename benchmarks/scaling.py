"""``python -m benchmarks.scaling``: copies the last run's medians into docs/scaling.md.

The simulated figures are computed. A measured line ends with the scenario and the name of a
figure, and its median:
``| one | what | `latency`: 500 rows, idle: POST to success | 0.05 s |``.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping

from benchmarks.harness.options import RESULTS
from benchmarks.registry import PARTS
from benchmarks.reporting.figures import Figure
from benchmarks.reporting.report import RESULTS as LATEST
from benchmarks.reporting.report import number
from benchmarks.simulation import scenarios
from devstack.service_processes import ROOT

PAGE = ROOT / "docs" / "scaling.md"

MEASURED = re.compile(
    rf"^(\|.*\| `(?:{'|'.join(PARTS)})`: (?P<name>[^|]+) \| )[^|]*( \|)$", re.MULTILINE
)


def figure_reference(page: str) -> list[str]:
    """Return the names of the figures that a page quotes, in order."""
    return [found["name"] for found in MEASURED.finditer(page)]


def fill_figures(page: str, medians: Mapping[str, str]) -> str:
    """Return the page with the medians filled in; figures that were not measured stay."""

    def line(found: re.Match[str]) -> str:
        if found["name"] not in medians:
            return found[0]
        return f"{found[1]}{medians[found['name']]}{found[3]}"

    return MEASURED.sub(line, page)


def medians_of(results: Mapping[str, object]) -> dict[str, str]:
    """Return each figure's median and unit, as the tables print them."""
    figures = results["figures"]
    assert isinstance(figures, list)
    return {each["name"]: _with_unit(each["median"], each["unit"]) for each in figures}


def simulated(figures: Iterable[Figure]) -> dict[str, str]:
    """Return each figure's value and unit, as :func:`medians_of` does."""
    return {each.name: _with_unit(each.value, each.unit) for each in figures}


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".strip()


def main() -> None:
    """Update the page from the last run, and print which figures it lacks."""
    latest = RESULTS / LATEST
    measured = medians_of(json.loads(latest.read_text())) if latest.exists() else {}
    medians = measured | simulated(scenarios.figures())
    page = PAGE.read_text()
    for name in figure_reference(page):
        if name not in medians:
            print(f"not measured: {name}", file=sys.stderr)
    PAGE.write_text(fill_figures(page, medians))


if __name__ == "__main__":
    main()
