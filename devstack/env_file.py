"""Environment files: lines ``KEY=VALUE`` that a shell can source.

The first line is a checksum of the others. Only a file whose checksum matches,
so one that was written here and not edited since, is ever replaced.
"""

import hashlib
import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

CHECKSUM = "DEVSTACK_CHECKSUM"


class FileRefused(Exception):
    """The file cannot be written or replaced; the message is for the user."""


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Write ``variables`` atomically to a file with mode 0600.

    Raises:
        FileRefused: as in :func:`remove`.
    """
    remove(path)
    lines = "".join(f"{name}={quoted(value)}\n" for name, value in variables.items())
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{checksum(lines.encode())}\n{lines}")
    unfinished.replace(path)


def remove(path: Path) -> None:
    """Remove the file of an earlier run, whose servers no longer exist.

    Raises:
        FileRefused: it was not written here, was edited, or its folder is not writable.
    """
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise FileRefused(f"{path} cannot be written: choose a file in a writable folder.")
    if not os.path.lexists(path):
        return
    if not is_ours(path):
        raise FileRefused(
            f"{path} was not written by devstack, or was edited since, and is not replaced: "
            "move it away or choose another file."
        )
    path.unlink()


def is_ours(path: Path) -> bool:
    """Return whether ``path`` is an unedited file that was written here, or an empty one."""
    if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
        return False
    content = path.read_bytes()
    first, _, lines = content.partition(b"\n")
    return not content or first == checksum(lines).encode()


def checksum(lines: bytes) -> str:
    """Return the first line of a file whose other lines are ``lines``."""
    return f"{CHECKSUM}={hashlib.sha256(lines).hexdigest()[:16]}"


def quoted(value: str) -> str:
    """Return ``value`` quoted for a shell if needed; an empty string for an empty value."""
    return shlex.quote(value) if value else ""
