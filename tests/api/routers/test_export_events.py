"""Server-sent events: what they tell, how they resume, when they end."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from httpx import AsyncClient
from redis.asyncio import Redis
from sqlalchemy import delete

import app.api.routers.export_events
from app.adapters.redis.pubsub import CHANNEL
from app.config import Settings
from app.errors import DatabaseUnavailable
from app.exports.batch_loader import ExportLoader
from app.main import create_app
from app.models import Export, exports
from app.resources import Resources, open_resources
from tests.api.problem_documents import assert_problem
from tests.api.records import Records
from tests.api.streams import served, stream
from tests.polling import until
from tests.test_main import serving
from tests.tokens import SECRET, bearer, mint, mint_for_service

SOON_S = 10
"""What must happen at once has happened by then, on the noisiest machine."""


@pytest.fixture
def settings(service_environment: dict[str, str]) -> Settings:
    """The settings of the service, with the tests' key."""
    usual = {name.lower(): value for name, value in service_environment.items() if value}
    return Settings(**(usual | {"auth_jwt_secret": SECRET}))  # type: ignore[arg-type]


@pytest.fixture
async def running(settings: Settings) -> AsyncIterator[tuple[AsyncClient, Resources]]:
    """The application on a socket."""
    api = create_app(settings)
    async with served(api) as client:
        yield client, api.state.resources


async def test_head_of_a_stream_ends_at_once_and_leaves_the_connection_to_others(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add()
    async with asyncio.timeout(SOON_S):
        for _ in range(3):
            answer = await seller.head(f"/exports/{export.id}/events")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert (await seller.get(f"/exports/{export.id}")).json()["id"] == str(export.id)


async def test_an_exports_progress_and_its_end_are_reported(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add(rows_estimated=10)
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        assert events.answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in events.answer.headers["cache-control"]
        queued = await events.event()
        await records.change(export, status="running", rows_exported=4)
        running = await events.event()
        await records.change(export, status="failed", error_code="internal")
        [ended] = await events.rest()
    assert [each.name for each in (queued, running, ended)] == ["progress", "progress", "finished"]
    assert [each.export["status"] for each in (queued, running, ended)] == [
        "queued",
        "running",
        "failed",
    ]
    assert running.export["progress"] == {"rows_exported": 4, "rows_estimated": 10}
    assert ended.export == (await seller.get(f"/exports/{export.id}")).json()


async def test_an_export_that_has_ended_is_reported_in_one_event(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("succeeded")
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        [ended] = await events.rest()
    assert ended.name == "finished"
    assert ended.export["download_url"]
    assert ended.export == (await seller.get(f"/exports/{export.id}")).json()


async def test_what_a_listener_knows_is_not_told_again(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("running", rows_exported=1)
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        seen = await events.event()
    async with stream(seller, export.id, Last_Event_ID=seen.id) as events:
        await records.change(export, rows_exported=2)
        async with asyncio.timeout(SOON_S):
            update = await events.event()
    assert update.export["progress"]["rows_exported"] == 2
    await records.change(export, status="cancelled")
    async with stream(seller, export.id, Last_Event_ID=update.id) as events:
        [ended] = await events.rest()
    assert ended.export["status"] == "cancelled"


async def test_who_knows_the_end_is_told_not_to_come_again(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("succeeded")
    async with stream(seller, export.id) as events:
        [ended] = await events.rest()
    async with stream(seller, export.id, Last_Event_ID=ended.id) as events:
        assert events.answer.status_code == 204


async def test_a_file_erased_meanwhile_is_reported(seller: AsyncClient, records: Records) -> None:
    export = await records.add("running")
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        await events.event()
        await seller.delete(f"/exports/{export.id}")
        [ended] = await events.rest()
    assert (ended.name, ended.export["status"]) == ("finished", "cancelled")


async def test_a_stream_ends_with_its_row(
    seller: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("running")
    async with stream(seller, export.id) as following, asyncio.timeout(SOON_S):
        await following.event()
        async with resources.database.engine.begin() as connection:
            await connection.execute(delete(exports).where(exports.c.id == export.id))
        await resources.export_events.publish(export.id)
        assert await following.rest() == []


async def test_progress_that_comes_fast_is_reported_less_often(
    seller: AsyncClient, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.api.routers.export_events, "EVENT_INTERVAL_S", 60)
    export = await records.add("running")
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        await events.event()
        for rows in range(20):
            await records.change(export, rows_exported=rows)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events.event(), 0.5)


async def test_a_silent_stream_has_a_heartbeat(
    seller: AsyncClient, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.api.routers.export_events, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(app.api.routers.export_events, "REREAD_S", 0.05)
    export = await records.add("running")
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        await events.event()
        beats = 0
        async for line in events.lines:
            beats += line.startswith(":")
            if beats == 3:
                return


async def test_changes_that_were_lost_are_found_by_reading(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.api.routers.export_events, "REREAD_S", 0.05)
    without_redis = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    api = create_app(without_redis)
    async with served(api) as client, open_resources(settings) as resources:
        records = Records(resources)
        export = await records.add("running")
        client.headers.update(bearer(mint()))
        async with stream(client, export.id) as following, asyncio.timeout(SOON_S):
            await following.event()
            await records.change(export, status="failed")
            [ended] = await following.rest()
    assert ended.export["status"] == "failed"


@pytest.mark.parametrize(
    ("owner", "name"),
    [(ExportLoader, "load"), (app.api.routers.export_events, "export_json")],
    ids=["the row", "the audit of the file's address"],
)
async def test_a_stream_outlasts_a_database_that_is_unavailable(
    seller: AsyncClient,
    records: Records,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
) -> None:
    monkeypatch.setattr(app.api.routers.export_events, "REREAD_S", 0.05)
    export = await records.add("running")
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        await events.event()
        with monkeypatch.context() as patch:
            refused = asyncio.Event()

            async def refuse(*_: object) -> Export:
                refused.set()
                raise DatabaseUnavailable("away")

            patch.setattr(owner, name, refuse)
            await records.change(export, rows_exported=1)
            await refused.wait()
        await records.change(export, status="cancelled")
        assert (await events.rest())[-1].name == "finished"


async def test_a_stream_ends_in_time_for_a_new_token(
    seller: AsyncClient, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.api.routers.export_events, "LIFETIME_S", 0.1)
    monkeypatch.setattr(app.api.routers.export_events, "EVENT_INTERVAL_S", 0.1)
    export = await records.add("running")
    async with stream(seller, export.id) as events, asyncio.timeout(SOON_S):
        assert [each.name for each in await events.rest()] == ["progress"]


async def test_a_crowd_of_listeners_is_one_subscription(
    seller: AsyncClient, records: Records, redis_url: str
) -> None:
    async def has_one_more() -> bool:
        return await subscriptions(redis) == before + 1

    export = await records.add("running")
    async with (
        asyncio.timeout(SOON_S),
        Redis.from_url(redis_url) as redis,
        AsyncExitStack() as stack,
    ):
        before = await subscriptions(redis)
        crowd = [await stack.enter_async_context(stream(seller, export.id)) for _ in range(20)]
        await asyncio.gather(*(each.event() for each in crowd))
        await until(has_one_more)
        await records.change(export, status="cancelled")
        ends = await asyncio.gather(*(each.rest() for each in crowd))
        assert await has_one_more()
    assert {end.export["status"] for [end] in ends} == {"cancelled"}


async def subscriptions(redis: Redis) -> int:
    [(_, number)] = await redis.pubsub_numsub(CHANNEL)
    return int(number)


async def test_whose_export_it_is_not_cannot_listen(seller: AsyncClient, records: Records) -> None:
    others = await records.add(seller_id=2)
    for name in (others.id, uuid4()):
        assert_problem(await seller.get(f"/exports/{name}/events"), 404, "export_not_found")


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [(None, 401, "token_invalid"), (mint(scope="exports:write"), 403, "scope_missing")],
    ids=["none", "may not read"],
)
async def test_only_who_may_read_can_listen(
    anonymous: AsyncClient, records: Records, token: str | None, status: int, code: str
) -> None:
    export = await records.add("succeeded")
    headers = bearer(token) if token else {}
    answer = await anonymous.get(f"/exports/{export.id}/events", headers=headers)
    assert_problem(answer, status, code)


async def test_a_service_listens_to_any_sellers_export(
    anonymous: AsyncClient, records: Records
) -> None:
    export = await records.add("succeeded", seller_id=2)
    anonymous.headers.update(bearer(mint_for_service()))
    async with stream(anonymous, export.id) as events:
        [ended] = await events.rest()
    assert ended.export["seller_id"] == 2


async def test_streams_end_when_the_process_is_told_to(
    tmp_path: Path, settings: Settings, service_environment: dict[str, str]
) -> None:
    environment = service_environment | {"AUTH_JWT_SECRET": SECRET}
    async with (
        open_resources(settings) as resources,
        serving(tmp_path, environment) as (process, client),
    ):
        export = await Records(resources).add("running")
        client.headers.update(bearer(mint()))
        async with stream(client, export.id) as following, asyncio.timeout(SOON_S):
            await following.event()
            process.send_signal(signal.SIGTERM)
            assert await following.rest() == []
            assert await process.wait() is not None
