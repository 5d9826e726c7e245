"""``make demo``."""

import os
import subprocess
import sys

from devstack.service import ROOT

TIMEOUT_S = 120


def run(**environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "devstack.demo"],
        cwd=ROOT,
        env=os.environ | {"ONESHOT": "1", "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


def test_it_shows_the_mail_the_file_and_what_to_try_next() -> None:
    done = run()

    assert (done.returncode, done.stderr) == (0, "")
    assert "Your audience export is ready" in done.stdout
    assert "100,000 rows" in done.stdout
    assert "Email,Subscribed At (UTC)" in done.stdout
    assert 'curl "$API_URL/exports"' in done.stdout


def test_what_fails_is_said_in_a_sentence() -> None:
    done = run(DATABASE_URL="postgresql://127.0.0.1:9/nowhere")

    assert done.returncode == 1
    assert "The demo failed: alembic upgrade head" in done.stderr
    assert "Traceback" not in done.stdout
