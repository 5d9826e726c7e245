"""Linters of other people have nothing against the OpenAPI document."""

import os
import subprocess
from pathlib import Path

import pytest

from devstack.openapi import FILE
from tests.conftest import NPM_TOOLS

LINTERS = (
    ("redocly", "lint", "--extends", "recommended", str(FILE)),
    ("spectral", "lint", "--ruleset", "rules.yaml", str(FILE)),
)


@pytest.mark.npm
@pytest.mark.parametrize("command", LINTERS, ids=lambda command: command[0])
def test_the_recommended_rules_find_no_error(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text('extends: ["spectral:oas"]\n')
    program = NPM_TOOLS / ".bin" / command[0]
    ran = subprocess.run(
        [program, *command[1:]],
        cwd=tmp_path,
        env=os.environ | {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
