"""Each request has an id, a trace and its own line."""

import asyncio
import json
import logging

import pytest
from httpx import AsyncClient
from sqlalchemy import select

from app.models import exports
from app.observability.logs import configure_logs
from app.resources import Resources
from tests.api.conftest import Start
from tests.tokens import bearer, mint

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
BODY = {"follower": True}


async def named(resources: Resources, export_id: str) -> tuple[str, str | None]:
    """Return the request id and the traceparent that an export's row holds."""
    query = select(exports.c.request_id, exports.c.traceparent).where(exports.c.id == export_id)
    async with resources.database.engine.begin() as connection:
        row = (await connection.execute(query)).one()
    return row.request_id, row.traceparent


@pytest.fixture
def lines(
    seller: AsyncClient, restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> "LogReader":
    """The lines that requests write."""
    return LogReader(capsys)


class LogReader:
    """Reads what was logged since it was made."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def begin(self) -> None:
        """Log as in production from now on."""
        configure_logs()

    def of(self, event: str) -> list[dict[str, object]]:
        """Return the lines of an event."""
        lines = map(json.loads, self._capsys.readouterr().err.splitlines())
        return [line for line in lines if line["event"] == event]


async def test_the_id_and_the_trace_of_a_request_are_kept_with_its_export(
    seller: AsyncClient, resources: Resources
) -> None:
    headers = {"X-Request-ID": "shop-1.a_B", "traceparent": TRACEPARENT}
    answer = await seller.post("/exports", json=BODY, headers=headers)
    assert answer.headers["x-request-id"] == "shop-1.a_B"
    assert await named(resources, answer.json()["id"]) == ("shop-1.a_B", TRACEPARENT)


async def test_a_request_without_an_id_gets_one(seller: AsyncClient, resources: Resources) -> None:
    answer = await seller.post("/exports", json=BODY)
    request_id = answer.headers["x-request-id"]
    assert await named(resources, answer.json()["id"]) == (request_id, None)


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/exports/none", "/d/forged"])
async def test_every_answer_names_its_request(seller: AsyncClient, path: str) -> None:
    answer = await seller.get(path, headers={"X-Request-ID": "not safe"})
    assert answer.headers["x-request-id"] not in ("", "not safe")


async def test_browsers_may_send_and_read_the_id(start: Start) -> None:
    async with start(cors_origins=["https://shop.example"]) as (client, _):
        extra = {
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-request-id,traceparent",
        }
        assert (await client.options("/exports", headers=extra)).status_code == 200
        answer = await client.get("/exports", headers=bearer(mint()) | extra)
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]


async def test_a_request_has_one_line_without_its_path_or_query(
    seller: AsyncClient, lines: LogReader
) -> None:
    lines.begin()
    headers = {"X-Request-ID": "r-1", "traceparent": TRACEPARENT}
    await seller.get("/d/some-token?who=ann@example.com", headers=headers)
    (line,) = lines.of("request completed")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/d/[token]", 404)
    assert (line["request_id"], line["trace_id"], line["level"]) == ("r-1", TRACE, "info")
    assert 0 <= float(str(line["duration_s"])) < 60
    assert "some-token" not in str(line)
    assert "who" not in str(line)


async def test_a_line_has_the_route_however_it_was_requested(
    seller: AsyncClient, lines: LogReader
) -> None:
    lines.begin()
    await seller.head("/exports")
    await seller.put("/exports/x")
    await seller.get("/nowhere/secret")
    logged = [
        (line["method"], line["route"], line["status"]) for line in lines.of("request completed")
    ]
    assert logged == [("HEAD", "/exports", 200), ("PUT", "/exports/{id}", 405), ("GET", None, 404)]


async def test_a_fault_of_ours_is_a_warning(
    start: Start, restore_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    away = "postgresql://user@127.0.0.1:1/none"
    async with start(database_url=away, audience_database_url=away) as (client, _):
        configure_logs()
        await client.get("/exports", headers=bearer(mint()))
    (line,) = LogReader(capsys).of("request completed")
    assert (line["status"], line["level"]) == (503, "warning")


async def test_requests_at_the_same_time_keep_their_names(
    seller: AsyncClient, lines: LogReader
) -> None:
    lines.begin()
    names = [f"r-{number}" for number in range(8)]
    requests = (seller.get("/audience", headers={"X-Request-ID": name}) for name in names)
    answers = await asyncio.gather(*requests)
    assert [answer.headers["x-request-id"] for answer in answers] == names
    assert sorted(str(line["request_id"]) for line in lines.of("request completed")) == names


async def test_the_export_has_its_own_line(seller: AsyncClient, lines: LogReader) -> None:
    lines.begin()
    for _ in range(2):
        answer = await seller.post("/exports", json=BODY, headers={"X-Request-ID": "r-1"})
    (line,) = lines.of("export requested")
    assert logging.getLevelNamesMapping()[str(line["level"]).upper()] == logging.INFO
    assert line["export_id"] == answer.json()["id"]
    assert (line["seller_id"], line["attempt"], line["status"]) == (1, 0, "queued")
    assert line["request_id"] == "r-1"
