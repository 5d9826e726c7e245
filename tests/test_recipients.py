"""Recipients: addresses that are what they seem and cannot leave their header."""

import pytest

from app.recipients import is_mailable


@pytest.mark.parametrize(
    "address",
    [
        "seller1@example.com",
        "first.last+tag@mail.example.co.uk",
        "=cmd@x.co",
        "josé@x.co",
        "a@münchen.de",
        "a@हिन्दी.भारत",
        "a@xn--p1ai.com",
        f"{'a' * 64}@example.com",
    ],
)
def test_a_plain_address_is_mailable(address: str) -> None:
    assert is_mailable(address)


@pytest.mark.parametrize(
    "address",
    [
        None,
        7,
        ["a@b.co"],
        "",
        "@",
        "a@",
        "@b.co",
        "a",
        "a@b",
        "a@@b.co",
        "a@b@c.co",
        "a b@c.co",
        " a@b.co",
        "a@b.co ",
        "a@b.co,c@d.co",
        "a@b.co;c@d.co",
        "A <a@b.co>",
        '"a"@b.co',
        "a@[127.0.0.1]",
        ".a@b.co",
        "a..b@c.co",
        "a.@b.co",
        "a@b..co",
        "a@b.co.",
        "a@-b.co",
        "a@b-.co",
        "a@b_c.co",
        "a@b.co\r\nBcc: c@d.co",
        "a\n@b.co",
        "a@b.co\x00",
        "a\x85@b.co",
        "a\u2028@b.co",
        "a\u200b@b.co",
        "a\u202e@b.co",
        "\ud800@b.co",
        "=?utf-8?q?a?=@b.co",
        f"{'a' * 65}@example.com",
        f"{'é' * 33}@example.com",
        f"a@{'b' * 64}.co",
        f"a@{'b.' * 130}co",
    ],
)
def test_anything_else_is_not(address: object) -> None:
    assert not is_mailable(address)
