"""Teaches Schemathesis to write lines of JSON; ``schemathesis.toml`` names it."""

import json
from typing import Any

import schemathesis

MEDIA_TYPE = "application/x-ndjson"


@schemathesis.hook
def before_load_schema(_: Any, raw_schema: dict[str, Any]) -> None:
    """Let events be generated from the schema of a line: the document says that they are text."""
    content = raw_schema["paths"]["/audience/events"]["post"]["requestBody"]["content"]
    line = content[MEDIA_TYPE]["schema"]["contentSchema"]
    content[MEDIA_TYPE] = {"schema": {"type": "array", "items": line}}


@schemathesis.serializer(MEDIA_TYPE)
def lines(_: Any, value: Any) -> bytes:
    """Return a body with a line for each item; what is no list is one line."""
    items = value if isinstance(value, list) else [value]
    return b"\n".join(json.dumps(item).encode() for item in items)
