"""Lines of events (NDJSON): from what was sent to what can be staged."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app import strict_json
from app.audience.sources import SOURCES_BY_KEY, Source
from app.feeds.columns import BIGINT_MAX, BOOLEAN, INTEGERS, SELLER, SourceColumn, fed_columns
from app.feeds.staging import DELETED, KEY, KEY_LENGTH_MAX, VERSION, Rejected, Staging

FIELDS = ("source", KEY, VERSION, SELLER, "row", DELETED)


@dataclass
class EventLines:
    """The events of one request: what to stage of each source, and what is no event.

    ``staged`` are lines of CSV for the :func:`staging_of` the source.
    """

    count: int = 0
    sellers: set[int] = field(default_factory=set)
    staged: dict[Source, list[str]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)


class NoEvent(ValueError):
    """A line that is no event; its text says why."""


def staging_of(source: Source) -> Staging:
    """Return the staging table of events about ``source``: with every column."""
    return Staging(
        source,
        columns=tuple(fed_columns(source)),
        is_keyed=True,
        is_versioned=True,
        has_deletions=True,
    )


def read_lines(body: bytes) -> EventLines:
    """Read the events of a request's body, in order; empty lines are passed over."""
    read = EventLines()
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        read.count += 1
        try:
            event = _event(line)
            source = SOURCES_BY_KEY[event["source"]]
            read.sellers.add(event[SELLER])
            cells = [*_cells(source, event), str(number)]
        except NoEvent as error:
            read.rejected.append(Rejected(number, str(error)))
        else:
            read.staged.setdefault(source, []).append(_csv(cells))
    return read


def _event(line: bytes) -> dict[str, Any]:
    """Return the line's object, sound but for its row."""
    try:
        event = strict_json.parse(line)
    except json.JSONDecodeError as error:
        raise NoEvent(f"is not JSON: {error.msg}") from error
    if not isinstance(event, dict):
        raise NoEvent("is no JSON object")
    for name in event:
        if name not in FIELDS:
            raise NoEvent(f"{_quoted(name)}: there is no such field")
    for name, is_sound in _checks(event).items():
        if name not in event and name not in ("row", DELETED):
            raise NoEvent(f"{name}: is missing")
        if not is_sound:
            raise NoEvent(f"{name}: {_EXPECTED[name]}")
    if ("row" in event) == (DELETED in event):
        raise NoEvent("say either row or deleted")
    return event


def _checks(event: Mapping[str, Any]) -> dict[str, bool]:
    key = event.get(KEY)
    return {
        "source": event.get("source") in list(SOURCES_BY_KEY),
        KEY: isinstance(key, str) and 0 < len(key) <= KEY_LENGTH_MAX and _is_storable(key),
        VERSION: _is_whole(event.get(VERSION), -BIGINT_MAX - 1),
        SELLER: _is_whole(event.get(SELLER), 1),
        "row": isinstance(event.get("row", {}), dict),
        DELETED: event.get(DELETED, True) is True,
    }


_EXPECTED = {
    "source": f"is none of {', '.join(SOURCES_BY_KEY)}",
    KEY: f"is no text of 1 to {KEY_LENGTH_MAX} characters",
    VERSION: "is no whole number of 64 bits",
    SELLER: "is no whole number from 1",
    "row": "is no JSON object",
    DELETED: "can only be true",
}


def _cells(source: Source, event: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield the cells of :attr:`Staging.fields` but the last: the row, or its seller only."""
    yield event[KEY]
    yield str(event[VERSION])
    yield "true" if DELETED in event else None
    row = {} if DELETED in event else _row(source, event)
    row[SELLER] = str(event[SELLER])
    yield from (row.get(name) for name in fed_columns(source))


def _row(source: Source, event: Mapping[str, Any]) -> dict[str, str | None]:
    """Return a row's cells; columns that are not named have their default."""
    columns = fed_columns(source)
    row = event["row"]
    if row.get(SELLER, event[SELLER]) != event[SELLER]:
        raise NoEvent(f"row.{SELLER}: is another seller than the line's")
    for name in row:
        if name not in columns:
            raise NoEvent(f"row.{_quoted(name)}: there is no such column")
    given = {name: _cell(columns[name], value) for name, value in row.items()}
    defaults = {column.name: column.default for column in columns.values()}
    return defaults | given


def _cell(column: SourceColumn, value: object) -> str | None:
    if value is None:
        if not column.is_nullable:
            raise NoEvent(f"row.{column.name}: is null")
        return None
    if column.type == BOOLEAN:
        if not isinstance(value, bool):
            raise NoEvent(f"row.{column.name}: is neither true nor false")
        return str(value).lower()
    if column.type in INTEGERS:
        if not _is_whole(value, -BIGINT_MAX - 1):
            raise NoEvent(f"row.{column.name}: is no whole number that fits")
        return str(value)
    if not isinstance(value, str) or not _is_storable(value):
        raise NoEvent(f"row.{column.name}: is no text")
    return value


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= BIGINT_MAX


def _is_storable(text: str) -> bool:
    """Return whether PostgreSQL has room for every character: not NUL, no half of a pair."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _quoted(name: str) -> str:
    return json.dumps(name[:KEY_LENGTH_MAX])


def _csv(cells: list[str | None]) -> str:
    """Return a line of CSV in which null and the empty text differ."""
    quoted = ("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in cells)
    return ",".join(quoted) + "\n"
