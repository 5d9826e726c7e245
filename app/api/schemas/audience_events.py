"""The OpenAPI schemas of one line of ``POST /audience/events``.

A schema for each kind of line, none of which has alternatives beside its properties:
generators of API clients make of those types that no line fits.
"""

import json
from typing import Any

from app.audience.sources import SOURCES, SOURCES_BY_KEY, Source
from app.feeds.columns import (
    BIGINT_MAX,
    BOOLEAN,
    INSTANT,
    INTEGERS,
    JSON,
    NUMBERS,
    SELLER,
    SourceColumn,
    SourceTable,
    SourceTables,
)
from app.feeds.staging import KEY_LENGTH_MAX

EXAMPLES = (
    {
        "source": "follower",
        "key": "f-1",
        "version": 17,
        "seller_id": 1,
        "row": {
            "email": "ann@example.com",
            "created_at": "2025-03-01T10:00:00Z",
            "confirmed_at": "2025-03-01T10:05:00Z",
        },
    },
    {"source": "customer", "key": "o-9", "version": 2, "seller_id": 1, "deleted": True},
)

EXAMPLE_LINES = "".join(json.dumps(event) + "\n" for event in EXAMPLES)

ADDRESSED = {
    "key": {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_LENGTH_MAX,
        "description": "The row's key at the storefront, unique for its seller and source.",
    },
    "version": {
        "type": "integer",
        "format": "int64",
        "minimum": -BIGINT_MAX - 1,
        "maximum": BIGINT_MAX,
        "description": "A number that grows with each change of the row.",
    },
    "seller_id": {"type": "integer", "format": "int64", "minimum": 1, "maximum": BIGINT_MAX},
}
"""The properties that every line has."""


def event_schemas(tables: SourceTables) -> dict[str, Any]:
    """Return the components that describe a line; a table not in ``tables`` allows any columns."""
    schemas: dict[str, Any] = {}
    for source in SOURCES:
        name = _name(source)
        schemas[f"{name}Row"] = _row(source, tables.get(source))
        schemas[f"{name}Upsert"] = _upsert(source, f"{name}Row")
    schemas["AudienceDeletion"] = _deletion()
    alternatives = [*(f"{_name(source)}Upsert" for source in SOURCES), "AudienceDeletion"]
    schemas["AudienceEvent"] = {
        "title": "AudienceEvent",
        "description": "One line: a row as it is now, or its deletion.",
        "oneOf": [{"$ref": f"#/components/schemas/{each}"} for each in alternatives],
    }
    return schemas


def _name(source: Source) -> str:
    return source.key.title().replace("_", "")


def _upsert(source: Source, row: str) -> dict[str, Any]:
    return {
        "title": f"{_name(source)}Upsert",
        "description": f"{source.label}: a row as it is now.",
        "type": "object",
        "properties": {
            "source": {"type": "string", "const": source.key},
            **ADDRESSED,
            "row": {"$ref": f"#/components/schemas/{row}"},
        },
        "required": ["source", "key", "version", "seller_id", "row"],
        "additionalProperties": False,
    }


def _deletion() -> dict[str, Any]:
    return {
        "title": "AudienceDeletion",
        "description": "A row that is no more.",
        "type": "object",
        "properties": {
            "source": {"type": "string", "enum": list(SOURCES_BY_KEY)},
            **ADDRESSED,
            "deleted": {"type": "boolean", "const": True},
        },
        "required": ["source", "key", "version", "seller_id", "deleted"],
        "additionalProperties": False,
    }


def _row(source: Source, table: SourceTable | None) -> dict[str, Any]:
    columns = [each for each in table.columns.values() if each.name != SELLER] if table else []
    return {
        "title": f"{_name(source)}Row",
        "description": "The whole row: an omitted column gets its default.",
        "type": "object",
        "properties": {column.name: _type(column) for column in columns},
        "required": [column.name for column in columns if column.is_required],
        "additionalProperties": table is None,
    }


def _type(column: SourceColumn) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": "string"}
    if column.type in JSON:
        return {}
    if column.type == BOOLEAN:
        kind = {"type": "boolean"}
    elif column.type in INTEGERS:
        kind = {"type": "integer"}
    elif column.type.startswith(NUMBERS):
        kind = {"type": ["number", "string"]}
    elif column.type == INSTANT:
        kind = {"type": "string", "format": "date-time"}
    return {"anyOf": [kind, {"type": "null"}]} if column.is_nullable else kind
