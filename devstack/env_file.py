"""Environment files: lines ``KEY=VALUE`` that a shell can read."""

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Write ``variables`` for this user's eyes only; the file appears whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{name}={quoted(value)}\n" for name, value in variables.items())
    unfinished.replace(path)


def quoted(value: str) -> str:
    """Return ``value`` for a shell, quoted only where needed; nothing for an empty one."""
    return shlex.quote(value) if value else ""
