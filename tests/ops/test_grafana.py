"""The dashboard: whole, tidy, and asking for what the code shows."""

import json
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it brings no types

from app.observability.metrics import PREFIX, PROCESS_METRICS, SHARED_METRICS
from devstack.service_processes import ROOT
from tests.ops import promql
from tests.ops.known_metrics import known_metrics

DASHBOARD = ROOT / "ops" / "grafana" / "audience-export.json"
GRID = 24


@pytest.fixture
def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, rows too."""
    parsed: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return list(parsed["panels"])


@pytest.fixture
def expressions(panels: list[dict[str, Any]]) -> list[str]:
    """Every expression of the dashboard."""
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_the_dashboard_asks_for_what_the_code_shows(expressions: list[str]) -> None:
    known = known_metrics()
    labels = frozenset().union(*known.values())
    for expression in expressions:
        query = promql.read(promql.runnable(expression))
        assert query.metrics, expression
        assert query.metrics <= known.keys(), expression
        assert query.grouped <= labels, expression
        assert all(label in known[metric] for metric, label in query.matched), expression


def test_the_dashboard_shows_everything_the_code_counts(expressions: list[str]) -> None:
    shown = " ".join(expressions)
    for each in (*PROCESS_METRICS, *SHARED_METRICS):
        assert f"{PREFIX}_{each.name}" in shown, each.name


@pytest.mark.promtool
def test_promtool_reads_every_expression(expressions: list[str], tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": promql.runnable(expression)}
        for number, expression in enumerate(expressions)
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_products_three_metrics_come_first(panels: list[dict[str, Any]]) -> None:
    first = sorted(panels[:4], key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"]))
    assert [panel["title"] for panel in first[1:]] == [
        "How long an export takes",
        "Exports that fail",
        "Exports asked for",
    ]


def test_panels_have_places_of_their_own(panels: list[dict[str, Any]]) -> None:
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["title"], panel["gridPos"]) for panel in panels]
    assert all(place["x"] + place["w"] <= GRID for _, place in places)
    for (title, one), (other, two) in combinations(places, 2):
        beside = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        below = one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"]
        assert beside or below, (title, other)


def test_every_panel_says_what_it_shows_and_from_where(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
