"""Names of one attempt outside its row: the object's key and the database sessions' name."""

import re
from uuid import UUID

from app.models import AttemptKey, ExportKey
from app.models.file_options import FileFormatKey

# Orphan cleanup deletes what matches and has no export: never looser than `object_key`.
SUFFIX = re.compile(
    r"(?P<seller>\d{1,19})/(?P<export>[0-9a-f-]{36})/(?P<attempt>\d{1,9})\.(?:csv|xlsx)"
)
"""What :func:`object_key` appends to the prefix; the digits are those of bigint and integer."""


def object_key(prefix: str, attempt: AttemptKey, file_format: FileFormatKey) -> str:
    """Return where an attempt stores its file: no two attempts share a key.

    ``prefix`` is the setting ``S3_PREFIX``, which ends with a slash or is empty. The extension is
    the format's.
    """
    seller_id, export_id = attempt.export
    # Cleanup derives this key again: after a change it misses the files of earlier attempts.
    return f"{prefix}{seller_id}/{export_id}/{attempt.number}.{file_format}"


def parse_object_key(prefix: str, key: str) -> AttemptKey | None:
    """Return the attempt that stores its file under ``key``; ``None`` for any other key."""
    match = SUFFIX.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    if match is None:
        return None
    try:
        export_id = UUID(match["export"])
    except ValueError:
        return None
    return ExportKey(int(match["seller"]), export_id).attempt(int(match["attempt"]))


def session_name(attempt: AttemptKey) -> str:
    """Return the ``application_name`` of an attempt's database sessions (63 bytes at most)."""
    # As the key: with another name, sessions of the version before are not found and go on.
    return f"export {attempt.export.id} {attempt.number}"
