"""``make test`` on a machine with nothing but python3, make and git: ``make test-bare``.

PATH holds only links to :data:`PROGRAMS`. ``localhost`` resolves to ``::1`` first, then
127.0.0.1, where the system allows a private ``/etc/hosts``.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from devstack.service_processes import ROOT

PROGRAMS = (
    *(
        "awk",
        "bash",
        "cat",
        "cp",
        "env",
        "grep",
        "gzip",
        "ls",
        "mkdir",
        "rm",
        "sh",
        "sleep",
        "touch",
        "true",
    ),
    *("git", "make", "python3"),
)
"""The programs that the suite may use: Debian's essential packages, and what README requires."""

HOSTS = "::1 localhost\n127.0.0.1 localhost\n"


def with_hosts(hosts: Path, command: list[str]) -> list[str]:
    """Return the command that runs ``command`` as the same user with ``hosts`` as /etc/hosts.

    Only root may create a mount namespace: an ordinary user becomes root in a user
    namespace, and themselves again in a nested one.
    """
    bind = f"mount --bind {shlex.quote(os.fspath(hosts))} /etc/hosts"
    uid, gid = os.getuid(), os.getgid()
    again = [] if uid == 0 else ["unshare", "--user", f"--map-user={uid}", f"--map-group={gid}"]
    rights = [] if uid == 0 else ["--map-root-user"]
    script = f"{bind} && exec {shlex.join([*again, *command])}"
    return ["unshare", *rights, "--mount", "sh", "-c", script]


def linked_programs(folder: Path) -> Path:
    """Create a folder with links to the programs."""
    folder.mkdir()
    for name in PROGRAMS:
        path = shutil.which(name)
        assert path is not None, f"{name} is not installed"
        (folder / name).symlink_to(path)
    return folder


def main(arguments: list[str]) -> int:
    """Run ``make test`` with these arguments; return its exit status."""
    with tempfile.TemporaryDirectory(prefix="audience-bare-") as name:
        hosts = Path(name, "hosts")
        hosts.write_text(HOSTS)
        hosts.chmod(0o644)
        Path(name).chmod(0o755)  # under root, PostgreSQL's user runs some of them too
        programs = linked_programs(Path(name, "bin"))
        command = ["env", f"PATH={programs}", "make", "test", *arguments]
        if subprocess.run(with_hosts(hosts, ["true"]), capture_output=True).returncode == 0:
            command = with_hosts(hosts, command)
        else:
            print("The system allows no /etc/hosts of our own: it stays as it is.", flush=True)
        return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
