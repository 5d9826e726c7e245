"""The examination as lines for people, or as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer

from app.doctor.findings import Finding, Status

COLOURS = {
    Status.OK: typer.colors.GREEN,
    Status.WARNING: typer.colors.YELLOW,
    Status.FAILURE: typer.colors.RED,
}
STATUS_WIDTH = max(map(len, Status))


def as_json(findings: Sequence[Finding]) -> str:
    """Return a list of objects, one for each finding."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def as_lines(findings: Sequence[Finding]) -> list[str]:
    """Return a coloured line for each finding, and what to do at its end."""
    width = max(len(finding.check) for finding in findings)
    return [_line(finding, width) for finding in findings]


def has_failed(findings: Sequence[Finding]) -> bool:
    """Return whether anything keeps the service from its work; warnings do not."""
    return any(finding.status is Status.FAILURE for finding in findings)


def _line(finding: Finding, width: int) -> str:
    status = typer.style(finding.status.ljust(STATUS_WIDTH), fg=COLOURS[finding.status])
    advice = f" → {finding.advice}" if finding.advice else ""
    return f"{status}  {finding.check.ljust(width)}  {finding.detail}{advice}"
