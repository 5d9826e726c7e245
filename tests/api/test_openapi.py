"""The OpenAPI document: complete, with valid examples, fit for generators of API clients."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from httpx import AsyncClient

from app.api.problem_schema import EXPORT_CODES, PROBLEM_CODES
from app.api.problems import MEDIA_TYPE, TYPE_PREFIX
from app.audience.sources import SOURCES
from devstack.openapi import FILE, as_text
from tests.api.conftest import Start

PUBLIC = {"/d/{token}", "/healthz", "/readyz", "/metrics"}


@pytest.fixture
async def document(anonymous: AsyncClient) -> dict[str, Any]:
    """The document as it is served."""
    served: dict[str, Any] = (await anonymous.get("/openapi.json")).json()
    return served


def schemas_and_examples(part: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every schema of a part of the document, each with each of its examples."""
    if isinstance(part, list):
        for each in part:
            yield from schemas_and_examples(each)
    elif isinstance(part, dict):
        for example in part.get("examples", []) if "type" in part else ():
            yield part, example
        if "schema" in part:
            yield from ((part["schema"], each) for each in media_type_examples(part))
        for each in part.values():
            yield from schemas_and_examples(each)


def media_type_examples(part: dict[str, Any]) -> list[Any]:
    """Return the examples beside a schema, of a media type or a parameter."""
    examples = [each["value"] for each in part.get("examples", {}).values()]
    return [*examples, *([part["example"]] if "example" in part else [])]


def every_schema(part: Any) -> Iterator[dict[str, Any]]:
    """Yield each object in a part of the document that is a schema by its keywords."""
    if isinstance(part, dict):
        if {"type", "properties", "const", "enum", "anyOf", "oneOf", "allOf"} & part.keys():
            yield part
        for each in part.values():
            yield from every_schema(each)
    elif isinstance(part, list):
        for each in part:
            yield from every_schema(each)


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (path, each) for path, methods in document["paths"].items() for each in methods.values()
    ]


async def test_every_error_is_a_problem_document_with_an_example(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            content = response["content"][MEDIA_TYPE]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, (path, status)
            for example in content.get("examples", {}).values():
                assert example["value"]["status"] == int(status)


async def test_every_guarded_operation_says_so(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        assert operation["security"] == ([] if path in PUBLIC else [{"token": []}])
        assert ({"401", "403"} <= operation["responses"].keys()) == (path not in PUBLIC)


async def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)+", name) for name in names)


async def test_the_flags_are_those_of_the_registry(document: dict[str, Any]) -> None:
    body = document["components"]["schemas"]["ExportCreate"]
    fields = body["properties"].items()
    flags = {key for key, field in fields if field["description"].startswith("Include:")}
    assert flags == {source.key for source in SOURCES}
    assert body["additionalProperties"] is False


async def test_a_new_export_leads_to_operations_there_are(document: dict[str, Any]) -> None:
    links = document["paths"]["/exports"]["post"]["responses"]["202"]["links"]
    names = {operation["operationId"] for _, operation in operations(document)}
    assert {link["operationId"] for link in links.values()} <= names


async def test_the_largest_seller_is_written_exactly(document: dict[str, Any]) -> None:
    seller_id = document["components"]["schemas"]["ExportCreate"]["properties"]["seller_id"]
    assert seller_id["anyOf"][0]["maximum"] == 2**63 - 1
    assert isinstance(seller_id["anyOf"][0]["maximum"], int)


async def test_every_number_in_a_query_has_its_bounds(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        for parameter in operation.get("parameters", []):
            for schema in parameter["schema"].get("anyOf", [parameter["schema"]]):
                if schema.get("type") in ("integer", "number"):
                    assert {"minimum", "maximum"} <= set(schema), (path, parameter["name"])


async def test_nothing_of_the_frameworks_own_errors_is_left(document: dict[str, Any]) -> None:
    assert "ValidationError" not in str(document)


async def test_the_documentation_can_be_read(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/docs")
    assert answer.status_code == 200
    assert "openapi.json" in answer.text
    for name in re.findall(r"docs/([^\"]+)", answer.text):
        file = await anonymous.get(f"/docs/{name}")
        assert file.status_code == 200
        assert file.headers["content-encoding"] == "gzip"
    assert (await anonymous.get("/docs/setup.py")).status_code in (404, 422)


async def test_the_documentation_needs_nothing_from_the_internet(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in policy + answer.text


async def test_the_documentation_is_served_only_where_it_is_wanted(start: Start) -> None:
    async with start(docs_enabled=False) as (client, _):
        for path in ("/docs", "/docs/start.js", "/openapi.json", "/redoc", "/docs/oauth2-redirect"):
            assert (await client.get(path)).status_code == 404


async def test_the_file_in_the_tree_is_the_document(document: dict[str, Any]) -> None:
    assert FILE.read_text() == as_text(document), "write it again: make openapi"


async def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    pairs = list(schemas_and_examples(document))
    assert len(pairs) > 80
    for schema, example in pairs:
        whole = {**schema, "components": document["components"]}
        jsonschema_rs.validator_for(whole, validate_formats=True).validate(example)


async def test_no_schema_has_alternatives_beside_its_properties(document: dict[str, Any]) -> None:
    for schema in every_schema(document["components"]["schemas"]):
        if "properties" in schema:
            assert not {"anyOf", "oneOf", "allOf"} & schema.keys(), schema


async def test_every_value_that_is_given_has_a_type(document: dict[str, Any]) -> None:
    for schema in every_schema(document["components"]["schemas"]):
        if {"const", "enum"} & schema.keys():
            assert isinstance(schema["type"], str), schema


async def test_every_code_is_enumerated(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    problem = schemas["Problem"]["properties"]
    assert problem["code"]["enum"] == PROBLEM_CODES
    assert problem["limit"]["enum"] == ["active_exports", "exports_per_hour"]
    assert problem["type"]["enum"] == [TYPE_PREFIX + code for code in PROBLEM_CODES]
    assert schemas["ExportError"]["properties"]["code"]["enum"] == EXPORT_CODES
    assert {"storage_unavailable", "worker_lost"} <= set(EXPORT_CODES)
    assert not {"quota_exceeded", "token_invalid"} & set(EXPORT_CODES)


async def test_no_field_of_a_request_must_be_sent_for_its_default(
    document: dict[str, Any],
) -> None:
    body = document["components"]["schemas"]["ExportCreate"]
    assert "required" not in body
    assert not any("default" in field for field in body["properties"].values())
    assert "Default: `true`." in body["properties"]["spreadsheet_safe"]["description"]


async def test_events_are_lines_of_text(document: dict[str, Any]) -> None:
    body = document["paths"]["/audience/events"]["post"]["requestBody"]
    (content,) = body["content"].values()
    assert content["schema"]["type"] == "string"
    whole = content["schema"]["contentSchema"] | {"components": document["components"]}
    line = jsonschema_rs.validator_for(whole, validate_formats=True)
    for each in content["example"].splitlines():
        line.validate(json.loads(each))
    row = document["components"]["schemas"]["CustomerRow"]
    assert {"email", "created_at", "state"} <= row["properties"].keys()


async def test_it_says_what_it_is_and_where(document: dict[str, Any]) -> None:
    assert document["servers"][0]["url"] == "/"
    assert document["info"]["license"]["identifier"] == "MIT"
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for _, each in operations(document) for tag in each["tags"]} == tags
