"""Parse events (NDJSON): turn a request's body into lines of CSV for the staging tables."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from app import strict_json
from app.audience.sources import SOURCES_BY_KEY, Source
from app.feeds.columns import (
    BIGINT_MAX,
    BOOLEAN,
    INTEGERS,
    JSON,
    NUMBERS,
    SELLER,
    SourceColumn,
    SourceTable,
    SourceTables,
)
from app.feeds.staging import DELETED, KEY, KEY_LENGTH_MAX, VERSION, RejectedLine, StagingTable

LINE_BYTES_MAX = 64 * 1024
"""Maximum size of one event: parsed JSON can take fifty times the memory of its text."""

NOT_EMPTY = re.compile(rb"\S[^\n]*")
"""Matches each line that is not blank, from its first character that is not white space."""

FIELDS = ("source", KEY, VERSION, SELLER, "row", DELETED)


@dataclass
class ParsedEvents:
    """The events of one request.

    Attributes:
        tables: The source tables that exist.
        count: Lines that are not blank.
        sellers: The sellers that valid lines are about.
        staged: By source, lines of CSV with the fields of :func:`staging_table_for`.
        rejected: Invalid lines, with their reasons.
    """

    tables: SourceTables
    count: int = 0
    sellers: set[int] = field(default_factory=set)
    staged: dict[Source, list[str]] = field(default_factory=dict)
    rejected: list[RejectedLine] = field(default_factory=list)


class InvalidEvent(ValueError):
    """A line is not a valid event; the message says why."""


def staging_table_for(target: SourceTable) -> StagingTable:
    """Return the staging table for events of a source, with all its columns."""
    return StagingTable(
        target,
        columns=tuple(target.columns),
        is_keyed=True,
        is_versioned=True,
        has_deletions=True,
    )


def has_more_lines(body: bytes, lines_max: int) -> bool:
    """Return whether a body has more than ``lines_max`` lines that are not blank; parses none."""
    return any(islice(NOT_EMPTY.finditer(body), lines_max, None))


def parse_events(body: bytes, tables: SourceTables) -> ParsedEvents:
    """Parse the events of a request's body, in order; empty lines are skipped."""
    parsed = ParsedEvents(tables)
    number, counted = 1, 0
    for found in NOT_EMPTY.finditer(body):
        # From the last event on: counted from the beginning, the time would be quadratic.
        number += body.count(b"\n", counted, found.start())
        counted = found.start()
        parsed.count += 1
        try:
            event = _event(found)
            source = SOURCES_BY_KEY[event["source"]]
            # Before the row is checked: the right to a seller is verified for rejected lines too.
            parsed.sellers.add(event[SELLER])
            cells = [*_cells(_table(source, tables), event), str(number)]
        except InvalidEvent as error:
            parsed.rejected.append(RejectedLine(number, str(error)))
        else:
            parsed.staged.setdefault(source, []).append(_csv(cells))
    return parsed


def _event(line: re.Match[bytes]) -> dict[str, Any]:
    """Return the line's object, validated except for its ``row``."""
    if line.end() - line.start() > LINE_BYTES_MAX:
        raise InvalidEvent(f"is longer than {LINE_BYTES_MAX:,} bytes")
    try:
        event = strict_json.loads(line[0])
    except json.JSONDecodeError as error:
        raise InvalidEvent(f"is not JSON: {error.msg}") from error
    if not isinstance(event, dict):
        raise InvalidEvent("is no JSON object")
    for name in event:
        if name not in FIELDS:
            raise InvalidEvent(f"{_quoted(name)}: there is no such field")
    for name, is_valid in _checks(event).items():
        if name not in event and name not in ("row", DELETED):
            raise InvalidEvent(f"{name}: is missing")
        if not is_valid:
            raise InvalidEvent(f"{name}: {_EXPECTED[name]}")
    if ("row" in event) == (DELETED in event):
        raise InvalidEvent("say either row or deleted")
    return event


def _checks(event: Mapping[str, Any]) -> dict[str, bool]:
    key = event.get(KEY)
    return {
        # A list: the value may be a JSON array or object, which has no hash.
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


def _table(source: Source, tables: SourceTables) -> SourceTable:
    table = tables.get(source)
    if table is None:
        raise InvalidEvent(f"source: there is no table {source.table} yet")
    if table.id is None:
        raise InvalidEvent(f"source: {source.table} has no column id, so its rows have no keys")
    return table


def _cells(table: SourceTable, event: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield the cells of :attr:`StagingTable.fields` except the line number, in order."""
    is_deleted = DELETED in event
    row = {} if is_deleted else _row(table, event)
    yield event[KEY]
    yield str(event[VERSION])
    yield "true" if is_deleted else None
    yield None if is_deleted else _array(name for name in table.columns if name not in row)
    row[SELLER] = str(event[SELLER])
    yield from (row.get(name) for name in table.columns)


def _row(table: SourceTable, event: Mapping[str, Any]) -> dict[str, str | None]:
    """Return a row's cells by name; columns that are not named have their default."""
    row = event["row"]
    if row.get(SELLER, event[SELLER]) != event[SELLER]:
        raise InvalidEvent(f"row.{SELLER}: is another seller than the line's")
    for name in row:
        if name not in table.columns:
            raise InvalidEvent(f"row.{_quoted(name)}: there is no such column")
    return {name: _cell(table.columns[name], value) for name, value in row.items()}


def _cell(column: SourceColumn, value: object) -> str | None:
    if value is None:
        if not column.is_nullable:
            raise InvalidEvent(f"row.{column.name}: is null")
        return None
    if column.type == BOOLEAN:
        if not isinstance(value, bool):
            raise InvalidEvent(f"row.{column.name}: is neither true nor false")
        return str(value).lower()
    if column.type in INTEGERS:
        if not _is_whole(value, -BIGINT_MAX - 1):
            raise InvalidEvent(f"row.{column.name}: is no whole number that fits")
        return str(value)
    if column.type in JSON or (_is_number(value) and column.type.startswith(NUMBERS)):
        return json.dumps(value)
    if not isinstance(value, str) or not _is_storable(value):
        raise InvalidEvent(f"row.{column.name}: is no text")
    return value


def _array(names: Iterator[str]) -> str:
    """Return names as a PostgreSQL array literal."""
    escaped = (name.replace("\\", "\\\\").replace('"', '\\"') for name in names)
    return "{" + ",".join(f'"{name}"' for name in escaped) + "}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= BIGINT_MAX


def _is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store every character: no NUL, no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _quoted(name: str) -> str:
    return json.dumps(name[:KEY_LENGTH_MAX])


def _csv(cells: list[str | None]) -> str:
    """Return a line of CSV: null is an empty cell, the empty text is quoted."""
    quoted = ("" if cell is None else '"' + cell.replace('"', '""') + '"' for cell in cells)
    return ",".join(quoted) + "\n"
