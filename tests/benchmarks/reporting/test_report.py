"""The results as JSON and Markdown."""

import json
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.processes.subprocesses import Measurement
from benchmarks.reporting.figures import Bound, Comparison, ContenderFigures, Figure
from benchmarks.reporting.report import Report
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import OVER_PSQL, TARGETS

PSQL = ContenderFigures(
    "psql COPY", (Measurement(1.0, 0.5, 4_000_000), Measurement(3.0, 0.5, 4_000_000))
)
OURS = ContenderFigures(
    "this service", (Measurement(1.1, 0.6, 90_000_000, 7), Measurement(2.7, 0.7, 91_000_000, 7))
)
CONTEST = Comparison("Large export", 1000, (PSQL, OURS), against="psql COPY")
FIGURES = (
    Figure("over psql", (1.1, 0.9), target=Bound(1.25), goal=OVER_PSQL),
    Figure("bulk load", (60_000.0,), "rows/s", Bound(80_000, at_least=True)),
)
REPORT = Report(
    datetime(2026, 11, 22, tzinfo=UTC),
    {"processor": "Fast", "cores": 2},
    {"python": "3.11", "postgresql": "18"},
    {"runs": 2},
    (ScenarioResult(FIGURES, (CONTEST,)),),
)


def test_the_json_holds_every_sample(tmp_path: Path) -> None:
    REPORT.write(tmp_path)

    written = json.loads((tmp_path / "latest.json").read_text())

    assert written["date"] == "2026-11-22T00:00:00+00:00"
    assert written["machine"]["cores"] == 2
    assert written["comparisons"][0]["contenders"][1]["seconds"] == [1.1, 2.7]
    assert written["figures"][1] == {
        "name": "bulk load",
        "unit": "rows/s",
        "median": 60_000.0,
        "target": {"value": 80_000, "at_least": True, "verdict": "missed"},
        "goal": None,
        "samples": [60_000.0],
    }


def test_the_summary_says_when_where_and_how_well() -> None:
    summary = REPORT.as_markdown()

    assert summary.startswith("2026-11-22, 2 cores (Fast), Python 3.11, PostgreSQL 18")
    assert "| over psql | 1.00 | 0.90 - 1.10 | 2 | <= 1.25 pass | <= 0.85 missed |" in summary
    assert "| bulk load | 60,000 rows/s | 60,000 - 60,000 | 1 | >= 80,000 missed |  |" in summary
    assert "| this service | 1.90 | 1.00 | 90 MB | 0.65 s |" in summary


def test_every_promise_has_a_verdict_in_the_summary() -> None:
    summary = REPORT.as_markdown()

    assert "| over psql | <= 0.85 | 1.00 | missed by 18 % |" in summary
    assert summary.count("| not measured |") == len(TARGETS) - 1


def test_the_json_holds_the_verdicts() -> None:
    first, second, *_ = REPORT.as_json()["verdicts"]

    assert (first["figure"], first["measured"], first["verdict"]) == (
        "over psql",
        1.0,
        "missed by 18 %",
    )
    assert (second["figure"], second["measured"], second["verdict"]) == (None, None, "not measured")
