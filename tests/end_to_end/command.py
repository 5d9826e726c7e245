"""``audience-export`` in its own process, forked from one that has imported it."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from app.cli.app import main
from devstack.service_processes import ROOT

TIMEOUT_S = 60

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["app.cli.app"])


def run(
    environment: Mapping[str, str], *arguments: str, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command in this environment; return what it wrote and how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        files = given, out, err = tuple(Path(folder, name) for name in ("in", "out", "err"))
        given.write_bytes(stdin)
        process = forks.Process(target=become, args=(dict(environment), arguments, files))
        process.start()
        process.join(TIMEOUT_S)
        process.kill()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            arguments, process.exitcode, out.read_bytes(), err.read_bytes()
        )


def become(
    environment: Mapping[str, str], arguments: tuple[str, ...], files: tuple[Path, Path, Path]
) -> None:
    """Go on as the command, as if a shell had started it."""
    for number, (file, flags) in enumerate(
        zip(files, (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT] * 2), strict=True)
    ):
        os.dup2(os.open(file, flags, 0o600), number)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv = ["audience-export", *arguments]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    main()
