"""The units: systemd takes them, they are locked up, and they run what there is."""

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from app.config import Settings
from devstack.service_processes import ROOT
from tests.test_deployment import LONGEST_IDLE_S
from workers.__main__ import POLL_INTERVAL_S, RELEASE_TIMEOUT_S

FOLDER = ROOT / "ops" / "systemd"
UNITS = {path.name: path for path in sorted(FOLDER.iterdir())}
SERVICES = [name for name in UNITS if name.endswith(".service")]
EXPOSURE_MAX = 2.0
"""Of ten, by systemd's own count."""


class Unit(ConfigParser):
    """A unit file: names keep their letters' case, and may be given more than once."""

    def optionxform(self, optionstr: str) -> str:
        """Keep a name as it is."""
        return optionstr


def unit(name: str) -> Unit:
    """Read a unit."""
    read = Unit(strict=False, interpolation=None)
    read.read(UNITS[name])
    return read


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with programs that there are on this machine."""
    for name, path in UNITS.items():
        text = re.sub(r"/opt/audience-export/venv/bin/[\w-]+", "/bin/true", path.read_text())
        (tmp_path / name.replace("@.", "@1.")).write_text(text)
    return tmp_path


@pytest.mark.systemd
def test_systemd_takes_the_units(installed: Path) -> None:
    files = sorted(map(str, installed.iterdir()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True
    )
    own = [line for line in done.stderr.splitlines() if "audience-export" in line]
    assert (done.returncode, own) == (0, [])


@pytest.mark.systemd
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_counts_the_service_as_well_locked_up(name: str, installed: Path) -> None:
    file = installed / name.replace("@.", "@1.")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    exposure = re.search(r"exposure level .*: ([\d.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) < EXPOSURE_MAX


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_reads_settings_that_only_root_may_read(name: str) -> None:
    service = unit(name)["Service"]
    assert service["EnvironmentFile"] == "/etc/audience-export/env"
    assert service["DynamicUser"] == "yes"
    assert service["CapabilityBoundingSet"] == ""


def test_services_run_what_there_is() -> None:
    commands = {name: unit(name)["Service"]["ExecStart"].split("/bin/")[1] for name in SERVICES}
    assert {name: command.split()[:3] for name, command in commands.items()} == {
        "audience-export-api.service": ["uvicorn", "app.main:app", "--host"],
        "audience-export-worker@.service": ["python", "-m", "workers"],
        "audience-export-migrate.service": ["alembic", "upgrade", "head"],
        "audience-export-verify.service": ["audience-export", "verify"],
    }


def test_the_api_keeps_idle_connections_for_longer_than_balancers_do() -> None:
    command = unit("audience-export-api.service")["Service"]["ExecStart"].split()
    assert int(command[command.index("--timeout-keep-alive") + 1]) > LONGEST_IDLE_S


def test_own_settings_are_settings() -> None:
    text = unit("audience-export-worker@.service")["Service"]["Environment"]
    names = {assignment.split("=")[0].lower() for assignment in text.split()}
    own = {name for name in names if not name.startswith("python")}
    assert own <= Settings.model_fields.keys()


def test_a_worker_is_given_the_time_that_it_may_take_to_stop() -> None:
    stop_s = int(unit("audience-export-worker@.service")["Service"]["TimeoutStopSec"])
    assert (
        stop_s
        > Settings.model_fields["shutdown_timeout_s"].default + POLL_INTERVAL_S + RELEASE_TIMEOUT_S
    )


def test_the_timer_starts_a_service_that_there_is() -> None:
    for name in UNITS:
        if name.endswith(".timer"):
            assert name.replace(".timer", ".service") in UNITS
