"""Exports that have ended, and what their mails say."""

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

from app.exports.delivery.mail_message import export_message
from app.models import Export
from tests.adapters.settings import settings_with

NOW = datetime(2026, 11, 22, 23, 54, 5, tzinfo=UTC)

LINK = "https://lists.example/d/x?a=1&b=2"

COLUMNS: dict[str, Any] = {
    "seller_id": 1,
    "id": UUID("0198c0de-0000-7000-8000-000000000001"),
    "sources": ["follower", "customer"],
    "columns": ["email"],
    "spreadsheet_safe": True,
    "bom": False,
    "recipient_email": "seller1@example.com",
    "created_at": NOW,
    "due_at": NOW,
    "attempt": 1,
    "failures": 0,
    "started_at": NOW,
    "snapshot_at": NOW,
    "rows_exported": 0,
    "rows_estimated": 0,
    "finished_at": NOW,
    "expires_at": NOW + timedelta(days=7),
    "object_key": "key",
    "file_name": "audience-1-2026-11-22.csv",
    "file_rows": 98_214,
    "file_bytes": 4_735_211,
    "error_code": None,
    "error_detail": None,
    "email_status": "pending",
    "email_attempts": 1,
    "email_sequence": 0,
    "email_sent_at": None,
}

FAULT = {"error_code": "storage_refused", "error_detail": "The storage denies this service access."}

VOID = {"meta", "br", "img", "link", "hr"}


def ready_export(**columns: Any) -> Export:
    """Return an export that succeeded."""
    return Export(**COLUMNS | {"status": "succeeded"} | columns)


def failed_export(**columns: Any) -> Export:
    """Return an export that failed."""
    return Export(**COLUMNS | FAULT | {"status": "failed"} | columns)


def mail_of(export: Export, **settings: Any) -> EmailMessage:
    """Return the mail of an export."""
    link = LINK if export.status == "succeeded" else None
    return export_message(export, settings_with(**settings), link)


def plain_text(mail: EmailMessage) -> str:
    """Return the plain text of a mail."""
    return _part(mail, "plain")


def html_text(mail: EmailMessage) -> str:
    """Return the HTML of a mail."""
    return _part(mail, "html")


def shown_text(html: str) -> str:
    """Return what a reader sees of a page, each element on a line of its own."""
    parser = StrictParser()
    parser.feed(html)
    parser.close()
    assert parser.open == [], parser.open
    return "\n".join(parser.texts)


class StrictParser(HTMLParser):
    """Collects the shown texts; every element is closed in its turn, no attribute comes twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (tag, names)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last one that is open."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect a text."""
        if data.strip() and self.open[-1] not in ("style", "title"):
            self.texts.append(data.strip())  # unescaped already


def _part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())
