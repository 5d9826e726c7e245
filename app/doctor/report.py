"""The findings as lines for people, or as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer

from app.doctor.findings import CheckResult, Status

COLOURS = {
    Status.OK: typer.colors.GREEN,
    Status.WARNING: typer.colors.YELLOW,
    Status.FAILURE: typer.colors.RED,
}
STATUS_WIDTH = max(map(len, Status))


def as_json(findings: Sequence[CheckResult]) -> str:
    """Return a JSON list of ``{check, status, detail, advice}``."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def as_lines(findings: Sequence[CheckResult]) -> list[str]:
    """Return a coloured line for each finding, with the advice at its end."""
    width = max(len(finding.check) for finding in findings)
    return [_line(finding, width) for finding in findings]


def has_failed(findings: Sequence[CheckResult]) -> bool:
    """Return whether there is a failure; warnings do not count."""
    return any(finding.status is Status.FAILURE for finding in findings)


def _line(finding: CheckResult, width: int) -> str:
    status = typer.style(finding.status.ljust(STATUS_WIDTH), fg=COLOURS[finding.status])
    advice = f" → {finding.advice}" if finding.advice else ""
    return f"{status}  {finding.check.ljust(width)}  {finding.detail}{advice}"
