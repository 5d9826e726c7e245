"""The programs of the clients' page do an export, each in its language."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.database.connections import Connection
from devstack.openapi import FILE
from devstack.service_processes import ROOT
from tests.conftest import GENERATOR
from tests.end_to_end.conftest import Stack

PAGE = (ROOT / "docs" / "clients.md").read_text()

PROGRAMS = {
    "python": (sys.executable, "first.py"),
    "js": ("node", "first.mjs"),
    "ruby": ("ruby", "first.rb"),
    "php": ("php", "first.php"),
}
"""The interpreter and the file's name, by the fence's language."""

ROW = """
    INSERT INTO followers (seller_id, email, created_at, confirmed_at)
    VALUES ($1, 'ann@example.com', '2025-03-01 10:00Z', '2025-03-01 10:00Z')
"""


def program(language: str) -> str:
    """Return the page's program in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def run(
    command: list[str], folder: Path, settings: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program in a folder, with settings in its environment."""
    environment = os.environ | settings
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90
    )


@pytest.mark.parametrize("language", PROGRAMS)
async def test_a_first_export_is_made(
    stack: Stack, connection: Connection, tmp_path: Path, language: str
) -> None:
    interpreter, name = PROGRAMS[language]
    if shutil.which(interpreter) is None:
        pytest.skip(f"{interpreter} is not installed")
    seller = 9500 + list(PROGRAMS).index(language)
    await connection.execute(ROW, seller)
    (tmp_path / name).write_text(program(language))
    ran = run([interpreter, name], tmp_path, stack.settings | {"SELLER_ID": str(seller)})
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["succeeded", "1"]
    lines = (tmp_path / "audience.csv").read_text().splitlines()
    assert lines == ["Email,Subscribed At (UTC)", "ann@example.com,2025-03-01 10:00:00"]


GENERATED = """
import os

from shop import AuthenticatedClient
from shop.api.exports import create_export, get_export
from shop.models import Export, ExportCreate, Problem, ProblemCode
from shop.models import ExportCreateColumnsItem as Column

client = AuthenticatedClient(os.environ["API_URL"], os.environ["SERVICE_TOKEN"], timeout=60)
body = ExportCreate(follower=True, columns=[Column.EMAIL], seller_id=9510)
refused = create_export.sync(client=client, body=body)
assert isinstance(refused, Problem) and refused.code == ProblemCode.REQUEST_INVALID, refused
assert refused.errors[0].field == "recipient_email"
body.recipient_email = "seller@example.com"
made = create_export.sync(client=client, body=body, idempotency_key="once")
assert isinstance(made, Export), made
ended = get_export.sync(made.id, client=client, wait=30)
print(ended.status.value, ended.file.rows, ended.error)
"""


@pytest.mark.clients
async def test_a_generated_client_does_a_whole_export(
    stack: Stack, connection: Connection, tmp_path: Path
) -> None:
    await connection.execute(ROW, 9510)
    options = ["--path", str(FILE), "--output-path", "shop", "--meta", "none"]
    made = run([str(GENERATOR), "generate", *options], tmp_path, {})
    assert made.returncode == 0, made.stdout + made.stderr
    (tmp_path / "export.py").write_text(GENERATED)
    ran = run([str(GENERATOR.parent / "python"), "export.py"], tmp_path, stack.settings)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["succeeded", "1", "None"]
