"""``python -m benchmarks.scaling``: the last run's medians into the tables of docs/scaling.md.

A measured line ends with the part and the name of a figure, and its median:
``| one | what | `latency`: 500 rows, idle: POST to success | 0.05 s |``.
"""

import json
import re
import sys
from collections.abc import Mapping

from benchmarks.catalogue import PARTS
from benchmarks.options import RESULTS
from benchmarks.report import RESULTS as LATEST
from benchmarks.report import number
from devstack.service import ROOT

PAGE = ROOT / "docs" / "scaling.md"

MEASURED = re.compile(
    rf"^(\|.*\| `(?:{'|'.join(PARTS)})`: (?P<name>[^|]+) \| )[^|]*( \|)$", re.MULTILINE
)


def quoted(page: str) -> list[str]:
    """Return the names of the figures that a page quotes, in order."""
    return [found["name"] for found in MEASURED.finditer(page)]


def filled(page: str, medians: Mapping[str, str]) -> str:
    """Return the page with the medians there are; what was not measured stays."""

    def line(found: re.Match[str]) -> str:
        if found["name"] not in medians:
            return found[0]
        return f"{found[1]}{medians[found['name']]}{found[3]}"

    return MEASURED.sub(line, page)


def medians_of(results: Mapping[str, object]) -> dict[str, str]:
    """Return each figure's median and unit, as the tables print them."""
    figures = results["figures"]
    assert isinstance(figures, list)
    return {each["name"]: f"{number(each['median'])} {each['unit']}".strip() for each in figures}


def main() -> None:
    """Fill in what the last run measured, and name what it did not."""
    medians = medians_of(json.loads((RESULTS / LATEST).read_text()))
    page = PAGE.read_text()
    for name in quoted(page):
        if name not in medians:
            print(f"not measured: {name}", file=sys.stderr)
    PAGE.write_text(filled(page, medians))


if __name__ == "__main__":
    main()
