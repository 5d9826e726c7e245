"""The response headers of an export's file; the store and the API send the same."""

from urllib.parse import quote

CSV_TYPE = "text/csv; charset=utf-8"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
DEFAULT_NAME = "audience.csv"
"""The name that is stored with a file where the caller gives none."""


def content_type(file_name: str) -> str:
    """Return the ``Content-Type`` of a file, by its extension."""
    return XLSX_TYPE if file_name.endswith(".xlsx") else CSV_TYPE


def content_disposition(file_name: str) -> str:
    """Return the ``Content-Disposition`` of a download (RFC 6266).

    Old clients only read the plain ``filename``, in which non-ASCII characters become ``_``.
    """
    # First: a line break in the name would begin another header.
    printable = "".join(character for character in file_name if character.isprintable())
    plain = printable.encode("ascii", "replace").decode().replace("?", "_")
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    field = f'attachment; filename="{quoted}"'
    if plain == printable:
        return field
    return f"{field}; filename*=UTF-8''{quote(printable, safe='')}"
