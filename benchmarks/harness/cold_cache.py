"""A cold PostgreSQL: nothing in its buffers or in the page cache."""

import os
from pathlib import Path

from benchmarks.harness.environment import Environment


def restart_cold(environment: Environment) -> None:
    """Restart the server after dropping its files from the page cache.

    Only these files are dropped, which needs no privileges and does not disturb other
    programs. Where the system cannot do it (macOS), only PostgreSQL's buffers are empty.
    """
    folder = Path(environment.query("SHOW data_directory"))
    environment.postgres.stop()
    for file in sorted((folder / "base").rglob("*")):
        if file.is_file():
            drop_from_page_cache(file)
    environment.postgres.start()


def drop_from_page_cache(file: Path) -> None:
    """Write a file out and drop it from the page cache."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
