"""Draws the samples of a soak; runs in the environment of the benchmarks' alternatives."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

COLUMNS = 3
PANEL_INCHES, DPI = (4, 2.2), 90
MINUTE_S = 60


def main() -> None:
    """Read the samples from the first argument and draw to the second."""
    samples, image = map(Path, sys.argv[1:])
    document = json.loads(samples.read_text())
    matplotlib.use("agg")
    panels = by_panel(document["series"])
    lines = -(-len(panels) // COLUMNS)
    size = (PANEL_INCHES[0] * COLUMNS, PANEL_INCHES[1] * lines)
    figure, grid = pyplot.subplots(lines, COLUMNS, figsize=size, layout="constrained")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, series) in zip(grid.flat, panels.items(), strict=False):
        for each in series:
            points = [(at / MINUTE_S, value) for at, value in each["points"]]
            axes.plot(*zip(*points, strict=True), linewidth=1, label=each["subject"])
        axes.axvspan(0, document["warm_up_s"] / MINUTE_S, color="0.92", zorder=0)
        named = title if len(series) > 1 else f"{series[0]['subject']}: {title}"
        axes.set_title(named, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=7, ncols=len(series), loc="lower right")
    figure.supxlabel("minutes; the grey ones are warm-up", fontsize=8)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=DPI)


def by_panel(series: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the series by the title of their panel: one measure of all processes each."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for each in series:
        panels.setdefault(each["measure"], []).append(each)
    return panels


if __name__ == "__main__":
    main()
