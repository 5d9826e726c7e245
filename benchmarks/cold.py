"""PostgreSQL with nothing of a database in memory: neither in its buffers nor in the system's."""

import os
from pathlib import Path

from benchmarks.stage import Stage


def restart_cold(stage: Stage) -> None:
    """Restart the server, after the system has let go of its files.

    The system is asked for these files alone, which needs no right and
    disturbs nobody else on the machine; where it cannot be asked (macOS), only
    PostgreSQL's own buffers are empty.
    """
    folder = Path(stage.query("SHOW data_directory"))
    stage.postgres.stop()
    for file in sorted((folder / "base").rglob("*")):
        if file.is_file():
            forget(file)
    stage.postgres.start()


def forget(file: Path) -> None:
    """Write a file out and drop it from the page cache."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
