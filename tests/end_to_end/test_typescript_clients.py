"""Generated TypeScript clients: every field and problem has its type, and they export."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from app.api.problem_schema import PROBLEM_CODES
from devstack.openapi import FILE
from tests.conftest import NPM_TOOLS
from tests.end_to_end.conftest import Stack

PROGRAMS = Path(__file__).parent / "typescript"

GENERATORS = (
    ("openapi-typescript", str(FILE), "-o", "schema.d.ts"),
    ("openapi-ts", "-i", str(FILE), "-o", "client", "-c", "@hey-api/client-fetch"),
)

pytestmark = pytest.mark.npm


def run(folder: Path, *command: str, **environment: str) -> str:
    """Run a program, one of the registry's if there is one of its name; return what it prints."""
    path = f"{NPM_TOOLS / '.bin'}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs with their generated clients, type-checked and compiled."""
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(PROGRAMS, folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(NPM_TOOLS)
    (folder / "codes.json").write_text(json.dumps(dict.fromkeys(PROBLEM_CODES, True)))
    for generator in GENERATORS:
        run(folder, *generator)
    run(folder, "tsc", "--project", ".")
    return folder / "compiled"


@pytest.mark.parametrize("stack_environment", ["direct"], indirect=True)
@pytest.mark.parametrize(
    ("program", "seller"), [("openapi-fetch.js", "9520"), ("hey-api.js", "9521")]
)
def test_a_typed_client_feeds_and_exports(
    stack: Stack, compiled: Path, program: str, seller: str
) -> None:
    printed = run(compiled, "node", program, **stack.settings, SELLER_ID=seller)
    assert json.loads(printed) == {
        "code": "request_invalid",
        "field": "recipient_email",
        "status": "succeeded",
        "file": "E-Mail;Quellen\nann@example.com;follower\n",
    }
