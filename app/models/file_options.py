"""The options of a file: everything that shapes it, apart from whose audience it lists."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeAlias

FileFormatKey: TypeAlias = Literal["csv", "xlsx"]
Delimiter: TypeAlias = Literal[",", ";", "\t"]

DEFAULT_COLUMNS = ("email", "subscribed_at")


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How a file is written, and of which period; the names are those of ``exports``' columns.

    Values are canonical: requests that differ in spelling only have equal options.

    Attributes:
        columns: their keys, in the order of the file.
        spreadsheet_safe: whether a cell that begins like a formula is guarded (CSV).
        bom: whether the file begins with a byte order mark (CSV).
        format: how the rows are framed.
        delimiter: what separates the cells (CSV).
        locale: the language of the headings and the mail, one of ``app.i18n.locales.LOCALES``.
        timezone: the IANA name of the zone of all dates in the file and the mail.
        joined_after: aware UTC; only members whose date is at or after it.
        joined_before: aware UTC; only members whose date is before it.
    """

    columns: tuple[str, ...] = DEFAULT_COLUMNS
    spreadsheet_safe: bool = True
    bom: bool = False
    format: FileFormatKey = "csv"
    delimiter: Delimiter = ","
    locale: str = "en"
    timezone: str = "UTC"
    joined_after: datetime | None = None
    joined_before: datetime | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The options as JSON values, instants in RFC 3339, for the audit and the fingerprint."""
        # Part of the fingerprint: with other names or forms, a request that is repeated after an
        # upgrade does not match its idempotency key, and is refused.
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }


FILE_OPTION_NAMES = tuple(field.name for field in fields(FileOptions))
"""The names of the options, which are columns of ``exports``."""
