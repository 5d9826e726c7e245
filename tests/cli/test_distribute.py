"""``audience-export distribute`` on a server without Citus."""

from typer.testing import CliRunner

from app.cli.app import app


def test_without_citus_the_command_says_so(service_environment: dict[str, str]) -> None:
    done = CliRunner().invoke(app, ["distribute"], env=service_environment)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == (
        "This database has no Citus: run CREATE EXTENSION citus on every node and add the nodes"
        " first.\n"
    )
