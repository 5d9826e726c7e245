"""Mailed links: signed, rotatable, and nothing but ours."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ExportNotFound
from app.exports.links import Links

OLD, NEW = b"o" * 32, b"n" * 32
EXPORT = UUID("0198c0de-0000-7000-8000-000000000001")


@given(st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_a_token_reads_back_as_what_it_names(seller_id: int, export_id: UUID) -> None:
    links = Links([NEW], "https://exports.example")
    assert links.read(links.token(seller_id, export_id)) == (seller_id, export_id)


def test_a_link_signed_before_a_rotation_still_opens() -> None:
    token = Links([OLD], None).token(1, EXPORT)
    assert Links([NEW, OLD], None).read(token) == (1, EXPORT)


def test_a_link_signed_with_a_dropped_key_is_unknown() -> None:
    token = Links([OLD], None).token(1, EXPORT)
    with pytest.raises(ExportNotFound):
        Links([NEW], None).read(token)


@pytest.mark.parametrize("position", range(0, 75, 7))
def test_a_changed_token_is_unknown(position: int) -> None:
    token = Links([NEW], None).token(1, EXPORT)
    changed = "A" if token[position] != "A" else "B"
    with pytest.raises(ExportNotFound):
        Links([NEW], None).read(token[:position] + changed + token[position + 1 :])


@given(st.text(max_size=100))
def test_any_other_text_is_unknown(text: str) -> None:
    with pytest.raises(ExportNotFound):
        Links([NEW], None).read(text)


def test_the_last_characters_spare_bits_are_not_ignored() -> None:
    """Base64 of 56 bytes ends in a character with spare bits: one spelling only."""
    links = Links([NEW], None)
    token = links.token(1, EXPORT)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(token[-1]) ^ 1]
    with pytest.raises(ExportNotFound):
        links.read(token[:-1] + twin)
