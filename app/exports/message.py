"""The mails: an export is ready, or it failed."""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from app.audience.sources import SOURCES_BY_KEY
from app.config import Settings
from app.exports.mime import POLICY, empty_message, set_texts
from app.models import Export

SPREADSHEET_ROWS = 1_048_575
"""Rows below the header that a spreadsheet shows (Excel's specification: 1,048,576 in all)."""

FORMS = ("txt", "html")

NAME_MAX = 64
"""A request id that is longer would be broken over two lines, as encoded words (RFC 2047)."""

_templates = Environment(
    loader=PackageLoader("app.exports"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _instant(value: datetime) -> str:
    return f"{value:%-d %B %Y, %H:%M} UTC"


def _day(value: datetime) -> str:
    return f"{value:%-d %B %Y}"


_templates.filters |= {"instant": _instant, "day": _day, "number": "{:,}".format}


def export_message(export: Export, settings: Settings, link: str | None) -> EmailMessage:
    """Return the message that tells an export's recipient how it ended.

    ``link`` downloads the file of an export that succeeded, and is ``None``
    for one that failed. The ``Message-ID`` follows from the export's id and
    how often its mail was asked for, so that a repetition is recognisable.
    """
    kind, subject = (
        ("ready", "Your audience export is ready")
        if export.status == "succeeded"
        else ("failed", "Your audience export failed")
    )
    facts = {
        "export": export,
        "link": link,
        "sources": [SOURCES_BY_KEY[key].label for key in export.sources],
        "is_too_long": (export.file_rows or 0) > SPREADSHEET_ROWS,
        "spreadsheet_rows": SPREADSHEET_ROWS,
        "subject": subject,
    }
    message = _addressed(export, settings, kind)
    message["Subject"] = subject
    plain, html = (_templates.get_template(f"{kind}.{form}").render(facts) for form in FORMS)
    set_texts(message, plain, html)
    return message


def _addressed(export: Export, settings: Settings, kind: str) -> EmailMessage:
    message = empty_message()
    message["From"] = sender = _mailbox("From", settings.mail_from)
    message["To"] = _address("", export.recipient_email)
    if settings.mail_reply_to is not None:
        message["Reply-To"] = _mailbox("Reply-To", settings.mail_reply_to)
    message["Date"] = datetime.now(UTC)
    domain = sender.addresses[0].domain
    message["Message-ID"] = f"<{export.id}.{export.email_sequence}.{kind}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    if export.request_id is not None and len(export.request_id) <= NAME_MAX:
        message["X-Request-ID"] = export.request_id
    return message


@cache
def _mailbox(field: str, mailbox: str) -> Any:
    """Return the field that names a mailbox of the settings, parsed once."""
    return POLICY.header_factory(field, _address(*parseaddr(mailbox)))


def _address(name: str, specification: str) -> Address:
    """Return an address for a header; one beyond ASCII is only taken in parts."""
    if specification.isascii():
        return Address(name, addr_spec=specification)
    local, _, domain = specification.rpartition("@")
    return Address(name, local, domain)
