"""What belongs to others looks like what never was: in body, headers and statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from app.resources import Resources
from tests.api.conftest import anyone, opened, records, running, seller, start
from tests.api.records import Records

__all__ = ["anyone", "opened", "records", "running", "seller", "start"]

CALLS = [
    ("GET", "/exports/{}"),
    ("GET", "/exports/{}?wait=5"),
    ("GET", "/exports/{}/download"),
    ("GET", "/exports/{}/events"),
    ("POST", "/exports/{}/email"),
    ("DELETE", "/exports/{}"),
]


@contextmanager
def statements(engine: AsyncEngine) -> Iterator[list[str]]:
    """Collect the statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        sent.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine.sync_engine, "before_cursor_execute", note)


def seen(answer: Response) -> tuple[int, str, list[tuple[str, str]]]:
    return answer.status_code, answer.text, sorted(answer.headers.items())


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_anothers_export_is_answered_as_none_at_all(
    seller: AsyncClient, records: Records, opened: Resources, method: str, path: str
) -> None:
    seller.headers["X-Request-ID"] = "the-same"
    for status in ("queued", "succeeded", "expired"):
        other = await records.add(status, seller_id=2, fingerprint=status.encode())
        with statements(opened.engine) as for_none:
            none = await seller.request(method, path.format(uuid4()))
        with statements(opened.engine) as for_other:
            theirs = await seller.request(method, path.format(other.id))
        assert none.status_code == 404
        assert seen(theirs) == seen(none)
        assert for_other == for_none
        await records.change(other, status="failed")
