"""Object keys: what is built can be parsed, and nothing else."""

from uuid import UUID

import pytest

from app.exports.object_keys import object_key, parse_object_key
from app.models import ExportKey
from app.models.file_options import FileFormatKey

EXPORT = UUID("0196b7a2-5d7f-7c3e-9a55-2f3a4b5c6d7e")
KEY = f"1/{EXPORT}/2.csv"


@pytest.mark.parametrize("prefix", ["", "exports/", "a.b/exports+/"])
@pytest.mark.parametrize("seller_id", [1, 2**63 - 1])
@pytest.mark.parametrize("number", [0, 2, 999_999_999])
@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
def test_a_key_that_is_built_is_parsed_into_its_attempt(
    prefix: str, seller_id: int, number: int, file_format: FileFormatKey
) -> None:
    attempt = ExportKey(seller_id, EXPORT).attempt(number)
    key = object_key(prefix, attempt, file_format)
    assert key.endswith(f".{file_format}")
    assert parse_object_key(prefix, key) == attempt


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("exports/", KEY),
        ("exports/", f"other/{KEY}"),
        ("", f"exports/{KEY}"),
        ("", f"{KEY}.old"),
        ("", KEY.replace(".csv", ".zip")),
        ("", f"{KEY}\n"),
        ("a.b/", f"axb/{KEY}"),
        ("", f"1/{'-' * 36}/2.csv"),
    ],
)
def test_any_other_key_is_no_attempts(prefix: str, key: str) -> None:
    assert parse_object_key(prefix, key) is None
