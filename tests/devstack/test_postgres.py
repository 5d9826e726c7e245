"""The embedded PostgreSQL."""

import os
import subprocess

import psutil
import pytest

from devstack.postgres import PostgresServer, reachable_binaries, unprivileged_user
from devstack.sandbox import Sandbox, ServerFailed, SystemUser


def test_it_is_version_18_with_unicode_and_logical_replication(postgres: PostgresServer) -> None:
    shown = postgres.execute("SELECT lower('É'), current_setting('wal_level')")

    assert shown == "é|logical"
    assert postgres.execute("SHOW server_version_num").startswith("18")


def test_settings_win_over_its_own() -> None:
    with Sandbox() as sandbox:
        server = PostgresServer(sandbox, settings={"fsync": "on", "work_mem": "7MB"})
        server.start()

        assert server.execute("SELECT current_setting('fsync'), current_setting('work_mem')") == (
            "on|7MB"
        )


def test_a_crash_keeps_port_and_committed_data_and_leaves_no_orphan() -> None:
    with Sandbox() as sandbox:
        server = PostgresServer(sandbox)
        server.start()
        server.execute("CREATE TABLE kept AS SELECT 1 AS number")
        address = server.url()
        children = psutil.Process(server.pid).children()

        server.kill()

        assert not any(child.is_running() and child.status() != "zombie" for child in children)
        server.start()
        assert (server.url(), server.execute("SELECT number FROM kept")) == (address, "1")


def test_a_standby_follows_its_primary() -> None:
    with Sandbox() as sandbox:
        primary = PostgresServer(sandbox)
        primary.start()
        standby = PostgresServer(sandbox, name="standby", primary=primary)
        standby.start()

        assert standby.execute("SELECT pg_is_in_recovery()") == "t"


def test_a_statement_that_fails_says_why(postgres: PostgresServer) -> None:
    with pytest.raises(ServerFailed, match='relation "nowhere" does not exist'):
        postgres.execute("SELECT * FROM nowhere")


def test_strangers_without_the_password_are_refused(postgres: PostgresServer) -> None:
    address = postgres.url().replace(postgres.password, "guess")

    with pytest.raises(ServerFailed, match="password authentication failed"):
        postgres._run("psql", "-X", "-d", address, "-c", "SELECT 1")


def test_programs_out_of_the_servers_reach_are_copied_and_work(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.postgres.open_to_all", lambda path: False)

    programs = reachable_binaries(sandbox, SystemUser(os.getuid(), os.getgid()))

    assert programs.is_relative_to(sandbox.path)
    subprocess.run([programs / "psql", "--version"], check=True)


def test_a_user_without_a_name_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54_321)

    with pytest.raises(ServerFailed, match=r"54321, which has no entry.*useradd --uid 54321"):
        unprivileged_user()
