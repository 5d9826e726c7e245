"""The mails' headers."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.adapters.smtp_envelope import Envelope
from app.exports.message import export_message
from app.models import Export
from tests.adapters.settings import settings_with

NOW = datetime(2026, 11, 22, 13, 54, 5, tzinfo=UTC)


def failed_export(recipient_email: str) -> Export:
    return Export(
        seller_id=1,
        id=UUID("0198c0de-0000-7000-8000-000000000001"),
        status="failed",
        sources=["follower"],
        columns=["email"],
        spreadsheet_safe=True,
        bom=False,
        recipient_email=recipient_email,
        created_at=NOW,
        due_at=NOW,
        attempt=1,
        failures=1,
        started_at=NOW,
        snapshot_at=None,
        rows_exported=0,
        rows_estimated=0,
        finished_at=NOW,
        expires_at=None,
        object_key=None,
        file_name=None,
        file_rows=None,
        file_bytes=None,
        error_code="storage_refused",
        error_detail="The file storage denies this service access.",
        email_status="pending",
        email_attempts=1,
        email_sequence=0,
        email_sent_at=None,
    )


@pytest.mark.parametrize(
    "address", ["ann@x.co", "=cmd@x.co", "josé@x.co", "a@münchen.de", "o'neil+tag@x.co"]
)
def test_every_recipient_that_is_taken_gets_its_mail(address: str) -> None:
    message = export_message(failed_export(address), settings_with(), None)

    assert Envelope.of(message).recipients == (address,)


def test_senders_and_answers_may_be_international() -> None:
    settings = settings_with(mail_from="Märkte <märkte@x.co>", mail_reply_to="josé@x.co")

    message = export_message(failed_export("ann@x.co"), settings, None)

    envelope = Envelope.of(message)
    assert envelope.sender == "märkte@x.co"
    assert envelope.needs_utf8
