"""A mail server's words in the log: what operators need, and nobody's address."""

from base64 import b64encode
from uuid import UUID

import pytest

from app.adapters.smtp.redaction import LENGTH_MAX, redacted
from app.exports.delivery.links import LinkSigner
from app.models import ExportKey

SECRETS = ("ann.lee@x.co", "mailer", "p@ss word", '"a b"@x.co')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("550 5.1.1 <ann.lee@x.co>: User unknown", "550 5.1.1 <[…]>: User unknown"),
        ("550 User ann.lee unknown", "550 User […] unknown"),
        ("550 ANN.LEE@X.CO unknown", "550 […] unknown"),
        ('550 "a b"@x.co unknown', "550 […] unknown"),
        ('550 "c d"@y.co unknown', "550 […] unknown"),
        (
            "553 <exports@shop.example>: not owned by user mailer",
            "553 <[…]>: not owned by user […]",
        ),
        ("550 see https://spf.example/why?s=exports%40shop.example", "550 see https:[…]"),
        ("550 bounce exports=40shop.example", "550 bounce […]"),
        ("550 josé@münchen.example unknown", "550 […] unknown"),
        ("535 p@ss word is wrong", "535 […] is wrong"),
        (f"535 {b64encode(b'mailer').decode()} failed", "535 […] failed"),
        ("334 UGFzc3dvcmQ6c2VjcmV0IQ==", "334 […]"),
        ("554 Client host [203.0.113.9] blocked", "554 Client host [203.0.113.9] blocked"),
        ("550\r\n\x00\x1b[31mred\u202e\ud800 text", "550 [31mred text"),
        ("", ""),
    ],
)
def test_addresses_credentials_and_controls_are_left_out(text: str, shown: str) -> None:
    assert redacted(text, SECRETS) == shown


def test_a_mailed_link_that_a_filter_repeats_is_hidden() -> None:
    token = LinkSigner([b"s" * 32], "https://files.example").token(ExportKey(1, UUID(int=7)))
    shown = redacted(f"554 5.7.1 URL https://files.example/d/{token} is listed")
    assert token not in shown
    assert shown.endswith("is listed")


@pytest.mark.parametrize(
    "text", ["long " * 10_000, "x" * 30_000, "é@" * 15_000, f"{'y' * 1995} ann.lee@x.co"]
)
def test_it_is_short_however_much_was_said(text: str) -> None:
    shown = redacted(text, SECRETS)
    assert len(shown) <= LENGTH_MAX
    assert "ann" not in shown
