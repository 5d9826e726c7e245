"""What a store's refusals mean, in words that say what to do."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from app.adapters.s3.errors import storage_errors
from app.errors import StorageUnavailable


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredToken", "credentials for the file storage have expired"),
        ("RequestTimeTooSkewed", "clock differs too much from the file storage's"),
        ("SlowDown", "is overloaded or has an internal error"),
    ],
)
async def test_what_passes_or_can_be_corrected_is_retried_and_named(code: str, words: str) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "No."}}
    with pytest.raises(StorageUnavailable, match=rf"{words} \({code}: No\)\.$"):
        async with storage_errors(5):
            raise ClientError(answer, "PutObject")
