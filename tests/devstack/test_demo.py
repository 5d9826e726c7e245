"""``make demo``, in a copy of the tree: it reads and writes files beside the code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.service_processes import ROOT

TIMEOUT_S = 120
NOWHERE = "127.0.0.1:9"

MISLEADING = {
    "DATABASE_URL": f"postgresql://{NOWHERE}/production",
    "AUDIENCE_DATABASE_URL": f"postgresql://{NOWHERE}/production",
    "REDIS_URL": f"redis://{NOWHERE}",
    "SMTP_URL": f"smtp://{NOWHERE}",
    "S3_ENDPOINT_URL": f"http://{NOWHERE}",
    "S3_PUBLIC_ENDPOINT_URL": f"http://{NOWHERE}",
    "S3_BUCKET": "production",
    "S3_SSE": "aws:kms:production",
    "PUBLIC_URL": f"http://{NOWHERE}",
    "AUTH_JWKS_URL": f"http://{NOWHERE}/keys",
    "AUTH_JWT_SECRET": "short",
    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{NOWHERE}",
    "EXPORT_STREAMS": "none",
    "MAILBOX_DIR": "/nowhere",
    "AWS_PROFILE": "production",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_ENDPOINT_URL": f"http://{NOWHERE}",
    "AWS_ENDPOINT_URL_S3": f"http://{NOWHERE}",
    "AWS_CA_BUNDLE": "/nowhere",
    "AWS_ACCESS_KEY_ID": "theirs",
    "AWS_SECRET_ACCESS_KEY": "theirs",
    "PGHOST": "production",
    "PGPORT": "9",
    "PGSSLMODE": "verify-full",
    "PGSERVICE": "production",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "HTTP_PROXY": f"http://{NOWHERE}",
    "http_proxy": f"http://{NOWHERE}",
    "HTTPS_PROXY": f"http://{NOWHERE}",
    "ALL_PROXY": f"http://{NOWHERE}",
    "NO_PROXY": "",
    "SSL_CERT_FILE": "/nowhere",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The code without the environment that runs it."""
    for name in ("app", "devstack", "migrations", "workers"):
        shutil.copytree(ROOT / name, tmp_path / "tree" / name)
    shutil.copy(ROOT / "alembic.ini", tmp_path / "tree")
    return tmp_path / "tree"


def run(tree: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "devstack.demo"],
        cwd=tree,
        env=os.environ | {"ONESHOT": "1", "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


def test_it_shows_the_mail_the_file_and_what_to_try_next_whatever_the_shell_says(
    tree: Path,
) -> None:
    home = tree.parent / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "config").write_text("[default]\nca_bundle = /nowhere\n")
    (tree / ".env").write_text("".join(f"{name}={value}\n" for name, value in MISLEADING.items()))

    done = run(tree, **MISLEADING, HOME=str(home))

    assert (done.returncode, done.stderr) == (0, "")
    assert "Your audience export is ready" in done.stdout
    assert "100,000 rows" in done.stdout
    assert "Email,Subscribed At (UTC)" in done.stdout
    assert 'curl "$API_URL/exports"' in done.stdout
    assert list((tree / ".devstack").iterdir()) == []


def test_what_fails_is_said_in_a_sentence(tree: Path) -> None:
    (tree / "migrations" / "versions" / "broken.py").write_text("raise SystemExit('broken')")

    done = run(tree)

    assert done.returncode == 1
    assert done.stderr.startswith("The demo failed: alembic upgrade head: ")
    assert done.stderr.endswith("broken\n")
    assert "Traceback" not in done.stderr


def test_a_file_that_it_did_not_write_is_left_as_it_is(tree: Path) -> None:
    (tree / ".devstack").mkdir()
    (tree / ".devstack" / "env").write_text("MINE=1\n")

    done = run(tree)

    assert (done.returncode, done.stdout) == (1, "")
    assert "was not written by devstack" in done.stderr
    assert (tree / ".devstack" / "env").read_text() == "MINE=1\n"
