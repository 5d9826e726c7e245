"""Addresses that common mailing tools refuse are counted, wherever the bytes are cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audience.refused_addresses import RefusedAddresses

LOCAL = st.text("ab\"'.é名 \U0001f600x@", min_size=1, max_size=6)
DOMAIN = st.text("aé.x", min_size=1, max_size=4)

emails = st.lists(st.builds("{}@{}".format, LOCAL, DOMAIN), max_size=8)


@pytest.mark.parametrize("separator", [b"\n", b"<"])
@given(addresses=emails, length=st.integers(1, 9))
def test_they_are_counted_wherever_the_bytes_are_cut(
    separator: bytes, addresses: list[str], length: int
) -> None:
    row_end = b"," + separator + b"2024-01-01 00:00:00" + separator
    content = b"".join(address.encode() + row_end for address in addresses)
    refused = RefusedAddresses(separator)
    for start in range(0, len(content), length):
        refused.add(content[start : start + length])
    assert refused.count == sum(
        re.search(r"[^\x01-\x7f].*@", address) is not None for address in addresses
    )
