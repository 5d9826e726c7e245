"""Servers end with the process that started them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from devstack.sandbox import (
    WORLD_READABLE,
    Sandbox,
    ServerFailed,
    free_port,
    open_to_all,
    temporary_folder,
)
from devstack.service_processes import ROOT

DEADLINE_S = 30

PARENT = """
import os, sys, time
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.sandbox import WORLD_READABLE, Sandbox

sandbox = Sandbox()
postgres, redis = PostgresServer(sandbox), RedisServer(sandbox)
postgres.start()
redis.start()
print(sandbox.path, postgres.pid, redis.pid, flush=True)
time.sleep(600)
"""


def wait_until_gone(pids: list[int], folder: Path) -> None:
    """Wait until none of the processes runs and the folder is removed."""
    deadline = time.monotonic() + DEADLINE_S
    while any(map(runs, pids)) or folder.exists():
        assert time.monotonic() < deadline, f"{pids} or {folder} are still there"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_servers_and_folder_go_when_their_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        folder, *pids = output.readline().split()
        children = [child.pid for pid in pids for child in psutil.Process(int(pid)).children()]

        parent.kill()
        parent.wait()

    wait_until_gone([*map(int, pids), *children], Path(folder))


def test_closing_stops_all_and_removes_the_folder() -> None:
    sandbox = Sandbox()
    process = sandbox.spawn("sleeper", ["sleep", "600"])
    status = process.exit_status

    sandbox.close()

    assert status is None
    assert process.exit_status == -15
    assert not sandbox.path.exists()


def test_a_program_that_ignores_the_request_to_end_is_killed(sandbox: Sandbox) -> None:
    process = sandbox.spawn("stubborn", ["sh", "-c", "trap '' TERM; echo ready; sleep 600"])
    process.wait_until(lambda: "ready" in process.log_tail(), DEADLINE_S)

    process.stop(timeout_s=0.1)

    assert process.exit_status == -9


def test_a_server_that_ends_by_itself_is_reported_with_its_log(sandbox: Sandbox) -> None:
    process = sandbox.spawn("broken", ["sh", "-c", "echo no such disk; exit 3"])

    with pytest.raises(ServerFailed, match=r"broken exited \(3\): no such disk"):
        process.wait_until(lambda: False, DEADLINE_S)


def test_programs_see_nothing_of_our_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://production")
    process = sandbox.spawn("nosy", ["env"], environment={"OWN": "1"})

    process.wait()

    assert "OWN=1" in process.log_tail()
    assert "production" not in process.log_tail()


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    assert 1024 < free_port() < 32_768


def test_a_closed_folder_above_puts_it_out_of_reach(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.touch(mode=0o755)

    tmp_path.chmod(0o700)

    assert not open_to_all(program)


def test_servers_of_root_live_where_another_user_can_reach_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    chosen = temporary_folder()

    assert chosen == (WORLD_READABLE if os.getuid() == 0 else str(tmp_path))
