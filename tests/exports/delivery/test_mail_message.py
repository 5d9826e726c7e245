"""The mails' headers."""

import re

import pytest

from app.adapters.smtp.envelope import Envelope
from app.errors import MailRefused
from app.exports.delivery.mail_message import export_message
from tests.adapters.settings import settings_with
from tests.exports.delivery.mails import failed_export, ready_export


@pytest.mark.parametrize("address", ["ann@x.co", "=cmd@x.co", "josé@x.co", "o'neil+tag@x.co"])
def test_every_recipient_that_is_taken_gets_its_mail(address: str) -> None:
    message = export_message(failed_export(recipient_email=address), settings_with(), None)

    assert Envelope.of(message).recipients == (address,)


@pytest.mark.parametrize(
    ("address", "on_the_wire", "needs_utf8"),
    [
        ("a@münchen.de", "a@xn--mnchen-3ya.de", False),
        ("a@straße.de", "a@xn--strae-oqa.de", False),
        ("a@हिन्दी.भारत", "a@xn--j2bd4cyah0f.xn--h2brj9c", False),
        ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de", False),
        ("josé@münchen.de", "josé@xn--mnchen-3ya.de", True),
    ],
)
def test_an_international_domain_goes_out_in_ascii(
    address: str, on_the_wire: str, needs_utf8: bool
) -> None:
    settings = settings_with(mail_from="Märkte <lists@märkte.example>")
    message = export_message(failed_export(recipient_email=address), settings, None)

    envelope = Envelope.of(message)
    assert (envelope.recipients, envelope.needs_utf8) == ((on_the_wire,), needs_utf8)
    assert envelope.sender == "lists@xn--mrkte-gra.example"
    assert on_the_wire.encode() in envelope.to_bytes()
    assert message["Message-ID"].endswith("@xn--mrkte-gra.example>")


def test_a_domain_without_an_ascii_form_is_refused() -> None:
    with pytest.raises(MailRefused):
        export_message(failed_export(recipient_email=f"a@{'ü' * 60}.de"), settings_with(), None)


def test_senders_and_answers_may_be_international() -> None:
    settings = settings_with(mail_from="Märkte <märkte@x.co>", mail_reply_to="josé@x.co")

    message = export_message(failed_export(recipient_email="ann@x.co"), settings, None)

    envelope = Envelope.of(message)
    assert envelope.sender == "märkte@x.co"
    assert envelope.needs_utf8


def test_nothing_answers_by_itself_and_no_service_rewrites_the_link() -> None:
    ready = ready_export(recipient_email="ann@x.co")
    for export, link in ((ready, "https://lists.example/d/x"), (failed_export(), None)):
        message = export_message(export, settings_with(), link)
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["X-Auto-Response-Suppress"] == "All"
        assert message["Precedence"] is None
        wire = Envelope.of(message).to_bytes().replace(b"\r\n ", b" ")
        assert b'\nX-SMTPAPI: {"filters": {"clicktrack": {"settings": {"enable": 0}}}}\r' in wire
        assert b"\nX-Mailgun-Track: no\r" in wire
        assert b"\nX-PM-TrackLinks: None\r" in wire
        assert b"\nX-MC-Track: none\r" in wire

    html = export_message(ready, settings_with(), "https://lists.example/d/x").get_body(("html",))
    assert html is not None
    links = re.findall(r"<a [^>]*>", html.get_content())
    assert len(links) == 2
    for attribute in (
        'clicktracking="off"',
        'ses:no-track=""',
        'disable-tracking="true"',
        'data-pm-no-track=""',
        'mc:disable-tracking=""',
    ):
        assert all(attribute in link for link in links)
