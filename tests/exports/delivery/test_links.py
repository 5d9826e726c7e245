"""Mailed links: signed, rotatable, and nothing but ours."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ExportNotFound
from app.exports.delivery.links import LinkSigner, StoredFile, download_link
from app.models import ExportKey
from tests.exports.delivery.mails import ready_export
from tests.fakes import MemoryStorage

OLD, NEW = b"o" * 32, b"n" * 32
PUBLIC_URL = "https://lists.example"
EXPORT = UUID("0198c0de-0000-7000-8000-000000000001")


@given(st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_a_token_reads_back_as_what_it_names(seller_id: int, export_id: UUID) -> None:
    links = LinkSigner([NEW], "https://exports.example")
    assert links.verify(links.token(ExportKey(seller_id, export_id))) == (seller_id, export_id)


def test_a_link_signed_before_a_rotation_still_opens() -> None:
    token = LinkSigner([OLD], None).token(ExportKey(1, EXPORT))
    assert LinkSigner([NEW, OLD], None).verify(token) == (1, EXPORT)


def test_a_link_signed_with_a_dropped_key_is_unknown() -> None:
    token = LinkSigner([OLD], None).token(ExportKey(1, EXPORT))
    with pytest.raises(ExportNotFound):
        LinkSigner([NEW], None).verify(token)


@pytest.mark.parametrize("position", range(0, 75, 7))
def test_a_changed_token_is_unknown(position: int) -> None:
    token = LinkSigner([NEW], None).token(ExportKey(1, EXPORT))
    changed = "A" if token[position] != "A" else "B"
    with pytest.raises(ExportNotFound):
        LinkSigner([NEW], None).verify(token[:position] + changed + token[position + 1 :])


@given(st.text(max_size=100))
def test_any_other_text_is_unknown(text: str) -> None:
    with pytest.raises(ExportNotFound):
        LinkSigner([NEW], None).verify(text)


def test_the_last_characters_spare_bits_are_not_ignored() -> None:
    """Base64 of 56 bytes ends in a character with spare bits: one spelling only."""
    links = LinkSigner([NEW], None)
    token = links.token(ExportKey(1, EXPORT))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(token[-1]) ^ 1]
    with pytest.raises(ExportNotFound):
        links.verify(token[:-1] + twin)


def test_a_link_is_the_token_under_the_public_address() -> None:
    links, export = LinkSigner([NEW, OLD], PUBLIC_URL), ready_export()
    token = LinkSigner([NEW], None).token(export.key)
    assert links.url(export) == f"{PUBLIC_URL}/d/{token}"
    assert len(token) == 75


class RecordingStorage(MemoryStorage):
    """Remembers the lifetimes of presigned URLs, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.lifetimes: list[int] = []

    async def presigned_url(self, key: str, file_name: str, lifetime_s: int) -> str:
        self.lifetimes.append(lifetime_s)
        return await super().presigned_url(key, file_name, lifetime_s)


@pytest.mark.parametrize(
    ("left_s", "lifetimes"), [(1000, {300}), (200, {199, 200}), (0, {1}), (-50, {1})]
)
async def test_a_presigned_url_ends_with_the_file_and_is_never_longer_than_allowed(
    left_s: int, lifetimes: set[int]
) -> None:
    storage, expires_at = RecordingStorage(), datetime.now(UTC) + timedelta(seconds=left_s)
    url = await StoredFile("key", "a b.csv", expires_at).presigned_url(storage, 300)
    assert url.startswith("https://store.invalid/key?as=a%20b.csv")
    assert set(storage.lifetimes) <= lifetimes


@pytest.mark.parametrize("missing", ["object_key", "file_name", "expires_at"])
async def test_without_a_file_there_is_no_link(missing: str) -> None:
    changes: dict[str, Any] = {missing: None}
    export = replace(ready_export(), **changes)
    assert StoredFile.of(export) is None
    assert await download_link(LinkSigner([NEW], PUBLIC_URL), MemoryStorage(), export, 300) is None


async def test_a_link_leads_to_the_store_only_where_there_is_no_public_address() -> None:
    export = replace(ready_export(), expires_at=datetime.now(UTC) + timedelta(days=7))
    own = LinkSigner([NEW], PUBLIC_URL)
    assert await download_link(own, MemoryStorage(), export, 300) == own.url(export)
    storage = RecordingStorage()
    presigned = await download_link(LinkSigner([], None), storage, export, 300)
    assert presigned is not None
    assert presigned.startswith("https://store.invalid/")
    assert storage.lifetimes == [300]
