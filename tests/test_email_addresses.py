"""Recipients: addresses that are what they seem and cannot leave their header."""

import pytest

from app.email_addresses import ascii_domain, is_valid_recipient, with_ascii_domain

LONG_DOMAIN = ".".join(["b" * 63] * 2 + ["c" * 61])
"""189 characters: with a local part of 64 and its @, an address has 254."""


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
        f"{'é' * 32}@example.com",
        f"a@{'b' * 63}.co",
        f"{'a' * 64}@{LONG_DOMAIN}",
        "a@b-c.co",
        "a@1.co",
    ],
)
def test_a_plain_address_is_mailable(address: str) -> None:
    assert is_valid_recipient(address)


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
        f"a@{'ü' * 60}.co",
        f"a@{'b.' * 130}co",
    ],
)
def test_anything_else_is_not(address: object) -> None:
    assert not is_valid_recipient(address)


def test_an_address_of_255_octets_is_too_long() -> None:
    assert not is_valid_recipient(f"{'a' * 64}@{LONG_DOMAIN}c")


def test_a_domain_in_ascii_stays_and_another_is_encoded() -> None:
    assert ascii_domain("Example.COM") == "Example.COM"
    assert ascii_domain("münchen.de") == ascii_domain("MÜNCHEN.DE") == "xn--mnchen-3ya.de"


def test_only_the_domain_of_an_address_is_encoded() -> None:
    assert with_ascii_domain("josé@münchen.de") == "josé@xn--mnchen-3ya.de"
    assert with_ascii_domain("a@b@münchen.de") == "a@b@xn--mnchen-3ya.de"
    with pytest.raises(UnicodeError):
        with_ascii_domain("a@\u2488com.de")
