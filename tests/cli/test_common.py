"""The command line while PostgreSQL refuses: one sentence, exit 1, and no traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.app import app
from devstack.postgres import PostgresServer
from tests.roles import Role, created_role

COMMANDS = (["verify"], ["rebuild"], ["webhook", "list"], ["stats"])


@pytest.fixture
def role(postgres: PostgresServer, database_url: str) -> Iterator[Role]:
    """The role that the command line has."""
    with created_role(postgres, database_url) as role:
        yield role


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_refused_login_is_reported_in_a_sentence(
    command: list[str], role: Role, service_environment: dict[str, str]
) -> None:
    role.change_password("another")
    done = CliRunner().invoke(app, command, env=service_environment | {"DATABASE_URL": role.url})
    assert done.exit_code == 1
    assert done.stderr == "database_unavailable: The database refuses the login.\n"


def test_a_cancelled_statement_is_reported_in_a_sentence(
    role: Role, service_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)"
    monkeypatch.setattr("app.audience.drift._count_sql", lambda _: cancel)
    done = CliRunner().invoke(app, ["verify"], env=service_environment)
    assert done.exit_code == 1
    assert done.stderr == "database_unavailable: The database cancelled the statement.\n"


def test_a_read_only_database_is_reported_in_a_sentence(
    role: Role, service_environment: dict[str, str]
) -> None:
    role.limit({"default_transaction_read_only": "on"})
    environment = service_environment | {"DATABASE_URL": role.url}
    done = CliRunner().invoke(app, ["verify"], env=environment)
    assert done.exit_code == 1
    assert done.stderr == "database_unavailable: The database is read-only.\n"


def test_mails_are_resent_by_one_command(service_environment: dict[str, str]) -> None:
    command = ["mails", "resend", "--since", "24h"]
    done = CliRunner().invoke(app, command, env=service_environment)
    assert (done.exit_code, done.stdout) == (0, "0 mails are due again, 0 are not\n")
    done = CliRunner().invoke(app, [*command[:-1], "yesterday"], env=service_environment)
    assert done.exit_code == 2
    assert "must be a duration such as" in done.stderr


EXPORT = ["export", "--seller", "1", "--follower", "-o"]


def in_process(
    environment: dict[str, str], arguments: list[str], stdout: int
) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a separate process, whose output goes to ``stdout``."""
    program = "from app.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_a_closed_pipe_ends_an_export_quietly(service_environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = in_process(service_environment, [*EXPORT, "-"], writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_full_disk_is_told_as_one(service_environment: dict[str, str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = in_process(service_environment, [*EXPORT, "-"], full)
    finally:
        os.close(full)
    message = "output_failed: The output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize("seller", ["0", str(2**63)])
@pytest.mark.parametrize(
    "command",
    [
        ["export", "--follower"],
        ["token"],
        ["verify"],
        ["rebuild"],
        ["exports", "list"],
        ["exports", "delete"],
        ["exports", "retry"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_a_seller_is_refused(
    service_environment: dict[str, str], command: list[str], seller: str
) -> None:
    done = CliRunner().invoke(app, [*command, "--seller", seller], env=service_environment)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--seller" in done.stderr


@pytest.mark.parametrize("output", [[], ["-o", "-"], ["-o", "link"]], ids=" ".join)
def test_an_export_goes_to_stdout_by_default_and_under_its_other_names(
    service_environment: dict[str, str], tmp_path: Path, output: list[str]
) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    arguments = [str(tmp_path / each) if each == "link" else each for each in output]
    file = tmp_path / "list.csv"
    with file.open("wb") as stdout:
        done = in_process(service_environment, [*EXPORT[:-1], *arguments], stdout.fileno())
    assert (done.returncode, file.read_text()) == (0, "Email,Subscribed At (UTC)\n"), done.stderr
    assert (tmp_path / "link").is_symlink()


def test_a_missing_folder_is_reported_in_a_sentence(
    service_environment: dict[str, str], tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "none" / "list.csv")
    done = CliRunner().invoke(app, [*EXPORT, nowhere], env=service_environment)
    message = "output_failed: The output cannot be written: No such file or directory.\n"
    assert (done.exit_code, done.stderr) == (1, message)
    done = CliRunner().invoke(app, ["stats", "--html", nowhere], env=service_environment)
    assert (done.exit_code, done.stderr) == (1, message)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_missing_rights_are_reported_in_a_sentence(
    command: list[str], role: Role, service_environment: dict[str, str]
) -> None:
    revoke = f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role.name}"
    role.server.execute(revoke, role.database)
    environment = service_environment | {"DATABASE_URL": role.url}
    done = CliRunner().invoke(app, command, env=environment)
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("database_refuses: The role of DATABASE_URL lacks a right: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_without_migrations_is_reported_in_a_sentence(
    command: list[str], postgres: PostgresServer, service_environment: dict[str, str]
) -> None:
    url = postgres.url("postgres")
    done = CliRunner().invoke(app, command, env=service_environment | {"DATABASE_URL": url})
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("database_refuses: The schema is missing or old (")
    assert done.stderr.count("\n") == 1


def test_an_address_that_cannot_be_called_is_refused_before_a_secret_is_made(
    service_environment: dict[str, str],
) -> None:
    command = ["webhook", "add", "shop", "http://shop.example/hook"]
    environment = service_environment | {"WEBHOOK_ALLOWED_NETWORKS": ""}
    done = CliRunner().invoke(app, command, env=environment)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "https" in done.stderr
