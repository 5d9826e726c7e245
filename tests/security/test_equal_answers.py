"""What belongs to others looks like what never was: in body, headers and statements."""

from uuid import uuid4

import pytest
from httpx import AsyncClient, Response

from tests.api.conftest import anonymous, records, resources, running, seller, start
from tests.api.records import Records
from tests.statements import recorded_statements

__all__ = ["anonymous", "records", "resources", "running", "seller", "start"]

CALLS = [
    ("GET", "/exports/{}"),
    ("GET", "/exports/{}?wait=5"),
    ("GET", "/exports/{}/download"),
    ("GET", "/exports/{}/events"),
    ("POST", "/exports/{}/email"),
    ("DELETE", "/exports/{}"),
]


def seen(answer: Response) -> tuple[int, str, list[tuple[str, str]]]:
    return answer.status_code, answer.text, sorted(answer.headers.items())


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_anothers_export_is_answered_as_none_at_all(
    seller: AsyncClient, records: Records, method: str, path: str
) -> None:
    seller.headers["X-Request-ID"] = "the-same"
    for status in ("queued", "succeeded", "expired"):
        other = await records.add(status, seller_id=2, fingerprint=status.encode())
        with recorded_statements() as for_none:
            none = await seller.request(method, path.format(uuid4()))
        with recorded_statements() as for_other:
            theirs = await seller.request(method, path.format(other.id))
        assert none.status_code == 404
        assert seen(theirs) == seen(none)
        assert for_other == for_none != []
        await records.change(other, status="failed")
