"""A watchdog: start a program that cannot outlive its parent, or remove a folder afterwards.

Run as a script by :mod:`devstack.sandbox`, with the standard library only::

    watchdog.py run LIFELINE SIGNAL UID GID PROGRAM ARGUMENTS...
    watchdog.py remove LIFELINE FOLDER

LIFELINE is the file descriptor of the read end of a pipe; only the parent
holds the write end. A byte means that the program has ended; end of file means
that the parent has died, even by SIGKILL. The kernel's PR_SET_PDEATHSIG does not
work here: it is cleared when the program changes its user, as PostgreSQL must
under root.

``run`` replaces itself by PROGRAM, so that the parent knows the program's
process id. A forked process holds the lifeline.
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
    """Become ``command``, as the user ``uid`` unless that is ``KEEP_USER``.

    ``signal_number`` ends the program after its parent has died.
    """
    program = os.getpid()
    if os.fork() == 0:
        if os.fork() == 0:  # a grandchild, so that the program never sees an unknown child end
            watch(lifeline, program, signal_number)
        os._exit(0)
    os.wait()
    os.close(lifeline)
    if uid != KEEP_USER:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    os.execvp(command[0], command)  # noqa: S606 - without a shell on purpose


def watch(lifeline: int, program: int, signal_number: int) -> None:
    """End ``program`` and its process group once the parent has died."""
    os.setsid()  # leave the group that will be killed
    ignore_signals()
    if parent_died(lifeline):
        end(program, signal_number)


def ignore_signals() -> None:
    """Ignore the signals that end other programs: only the lifeline ends this one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def parent_died(lifeline: int) -> bool:
    """Wait on the lifeline; return whether the parent died instead of writing a byte."""
    return os.read(lifeline, 1) == b""


def end(program: int, signal_number: int) -> None:
    """Send ``signal_number`` to the program's group, and SIGKILL to it after ``GRACE_S``."""
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
    """Remove ``folder`` once the parent has died; retry while programs still write into it."""
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
