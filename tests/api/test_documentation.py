"""The OpenAPI document: complete, with examples, and only where it is wanted."""

from typing import Any

import pytest
from httpx import AsyncClient

from app.api.problems import MEDIA_TYPE
from app.audience.sources import SOURCES
from tests.api.conftest import Start

PUBLIC = {"/d/{token}", "/healthz", "/readyz", "/metrics"}


@pytest.fixture
async def document(anyone: AsyncClient) -> dict[str, Any]:
    """The document as it is served."""
    served: dict[str, Any] = (await anyone.get("/openapi.json")).json()
    return served


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
        assert ("security" in operation) == (path not in PUBLIC)
        assert ({"401", "403"} <= operation["responses"].keys()) == (path not in PUBLIC)


async def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)


async def test_the_flags_are_those_of_the_registry(document: dict[str, Any]) -> None:
    body = document["components"]["schemas"]["ExportBody"]
    flags = {key for key, field in body["properties"].items() if field.get("default") is False}
    assert flags == {source.key for source in SOURCES} | {"bom"}
    assert body["additionalProperties"] is False


async def test_a_new_export_leads_to_operations_there_are(document: dict[str, Any]) -> None:
    links = document["paths"]["/exports"]["post"]["responses"]["202"]["links"]
    names = {operation["operationId"] for _, operation in operations(document)}
    assert {link["operationId"] for link in links.values()} <= names


async def test_the_largest_seller_is_written_exactly(document: dict[str, Any]) -> None:
    seller_id = document["components"]["schemas"]["ExportBody"]["properties"]["seller_id"]
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


async def test_the_documentation_can_be_read(anyone: AsyncClient) -> None:
    answer = await anyone.get("/docs")
    assert answer.status_code == 200
    assert "openapi.json" in answer.text


async def test_the_documentation_is_served_only_where_it_is_wanted(start: Start) -> None:
    async with start(docs_enabled=False) as (client, _):
        for path in ("/docs", "/openapi.json", "/redoc", "/docs/oauth2-redirect"):
            assert (await client.get(path)).status_code == 404
