"""Draws the growth curves; runs in the environment of the alternatives, which has matplotlib."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, NullFormatter

WIDTH_INCHES, HEIGHT_INCHES, DPI = 9, 5.5, 130
OURS = "this service"


def main() -> None:
    """Read the results from the first argument and draw to the second."""
    results, image = map(Path, sys.argv[1:])
    comparisons = json.loads(results.read_text())["curves"]
    matplotlib.use("agg")
    figure, axes = pyplot.subplots(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    for name, points in curves(comparisons).items():
        ours = name == OURS
        style = {"linewidth": 3, "zorder": 3} if ours else {"linewidth": 1.2}
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds, file in the store")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", alpha=0.3)
    axes.legend(frameon=False, loc="upper left")
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=DPI)


def curves(comparisons: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return each contender's points, rows and median seconds, in order of rows."""
    found: dict[str, list[tuple[int, float]]] = {}
    for comparison in sorted(comparisons, key=lambda each: each["rows"]):
        for contender in comparison["contenders"]:
            point = (comparison["rows"], contender["median_s"])
            found.setdefault(contender["name"], []).append(point)
    return found


if __name__ == "__main__":
    main()
