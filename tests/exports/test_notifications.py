"""What is told after a commit: whatever fails, the caller has succeeded."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from app.errors import QueueUnavailable
from app.exports.notifications import enqueue_export, publish_change
from tests.fakes import MemoryExportEvents, MemoryQueue, fails


@pytest.mark.parametrize(
    ("error", "level"),
    [(QueueUnavailable("down"), "warning"), (RuntimeError("a defect of a library"), "error")],
    ids=["outage", "defect"],
)
async def test_a_job_that_cannot_be_enqueued_fails_no_request(
    create_export: Any, error: Exception, level: str
) -> None:
    queue = MemoryQueue()
    queue.before = fails("enqueue", error)
    with capture_logs() as lines:
        await enqueue_export(queue, await create_export())
    [line] = [line for line in lines if line["event"] == "enqueue failed"]
    assert line["log_level"] == level
    assert queue.jobs == []


async def test_a_change_that_cannot_be_published_fails_no_request(create_export: Any) -> None:
    events = MemoryExportEvents()
    events.before = fails("publish", RuntimeError("a defect of a library"))
    with capture_logs() as lines:
        await publish_change(events, await create_export())
    [line] = [line for line in lines if line["event"] == "publish failed"]
    assert (line["log_level"], line["error"]) == ("error", "RuntimeError")
