"""Start a program that cannot outlive its parent, or remove a folder after it.

Run as a script by :mod:`devstack.sandbox`, with the standard library only::

    guard.py run LIFELINE SIGNAL UID GID PROGRAM ARGUMENTS...
    guard.py remove LIFELINE FOLDER

LIFELINE is the reading end of a pipe whose other end only the parent holds.
A byte on it means that all is done; its end means that the parent has died,
were it by SIGKILL. The kernel's own PR_SET_PDEATHSIG would not do: it is lost
when the program changes its user, as PostgreSQL must under root.

``run`` replaces itself by PROGRAM, so that the parent knows the program's own
process id; a watcher split off before that keeps the lifeline.
"""

import os
import shutil
import signal
import sys
import time

GRACE_S = 5.0
REMOVAL_S = 20.0
KEEP_USER = "-"


def run(lifeline: int, signal_number: int, uid: str, gid: str, command: list[str]) -> None:
    """Become ``command`` under ``uid``, watched; ``signal_number`` is what ends an orphan."""
    program = os.getpid()
    if os.fork() == 0:
        if os.fork() == 0:
            watch(lifeline, program, signal_number)
        os._exit(0)
    os.wait()
    os.close(lifeline)
    if uid != KEEP_USER:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    os.execvp(command[0], command)  # noqa: S606 - no shell is what we want


def watch(lifeline: int, program: int, signal_number: int) -> None:
    """End ``program`` and its group once the parent is gone."""
    os.setsid()  # out of the group that will be killed
    ignore_signals()
    if parent_died(lifeline):
        end(program, signal_number)


def ignore_signals() -> None:
    """Outlive what ends others: only the lifeline counts."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def parent_died(lifeline: int) -> bool:
    """Wait for the parent; return whether it went without saying that all is done."""
    return os.read(lifeline, 1) == b""


def end(program: int, signal_number: int) -> None:
    """Send ``signal_number`` to the program's group, then SIGKILL to what is left of it."""
    deadline = time.monotonic() + GRACE_S
    try:
        os.killpg(program, signal_number)
        while time.monotonic() < deadline:
            time.sleep(0.05)
            os.kill(program, 0)
        os.killpg(program, signal.SIGKILL)
    except ProcessLookupError:
        pass


def remove(lifeline: int, folder: str) -> None:
    """Remove ``folder`` once the parent is gone, as soon as nobody writes into it."""
    if not parent_died(lifeline):
        return
    deadline = time.monotonic() + REMOVAL_S
    while os.path.exists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.2)


if __name__ == "__main__":
    task, pipe, *rest = sys.argv[1:]
    if task == "run":
        run(int(pipe), int(rest[0]), rest[1], rest[2], rest[3:])
    else:
        ignore_signals()
        remove(int(pipe), rest[0])
