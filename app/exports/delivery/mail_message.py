"""The mails: an export is ready, it failed, or a large list was made."""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from functools import cache
from typing import Any

from app.config import Settings
from app.email_addresses import with_ascii_domain
from app.errors import MailRefused
from app.exports.delivery.mail_content import (
    FailedContent,
    MailContent,
    NoticeContent,
    ReadyContent,
)
from app.exports.delivery.mail_templates import mail_templates
from app.exports.delivery.mime import POLICY, empty_message, set_alternatives
from app.models import Export

NAME_MAX = 64
"""A request id that is longer would be broken over two lines, as encoded words (RFC 2047)."""

AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
"""RFC 3834, section 5, and [MS-OXCMAIL]: no answers of absence. ``Precedence: bulk`` is left out:
filters take the mail for advertising then."""

UNTRACKED = {
    "X-SMTPAPI": '{"filters": {"clicktrack": {"settings": {"enable": 0}}}}',
    "X-Mailgun-Track": "no",
    "X-PM-TrackLinks": "None",
    "X-MC-Track": "none",
}
"""Keep SendGrid, Mailgun, Postmark and Mandrill from leading a bearer's link over their own hosts.
SES takes no header: the links in ``ready.html`` carry its attribute, and those of the others."""


def export_message(export: Export, settings: Settings, link: str | None) -> EmailMessage:
    """Return the mail to an export's recipient about how it ended, in the export's language.

    ``link`` downloads the file of an export that succeeded, and is ``None``
    for one that failed. The ``Message-ID`` follows from the export's id and
    how often its mail was asked for, so that a repetition is recognisable.
    """
    content: MailContent = (
        FailedContent.of(export, settings)
        if link is None
        else ReadyContent.of(export, settings, link)
    )
    recipient = _address("", export.recipient_email)
    return _message(export, settings, content, recipient)


def notice_message(export: Export, settings: Settings, recipient: str) -> EmailMessage:
    """Return the mail to ``recipient``, a mailbox, about a large list; it has no link."""
    content = NoticeContent.of(export, settings)
    return _message(export, settings, content, _address(*parseaddr(recipient)))


def _message(
    export: Export, settings: Settings, content: MailContent, recipient: Address
) -> EmailMessage:
    message = _addressed(export, settings, content.kind, recipient)
    message["Subject"] = content.subject
    message["Content-Language"] = content.locale
    plain, html = mail_templates(settings.mail_templates_dir).render(content)
    set_alternatives(message, plain, html)
    return message


def _addressed(export: Export, settings: Settings, kind: str, recipient: Address) -> EmailMessage:
    message = empty_message()
    message["From"] = sender = _mailbox("From", settings.mail_from)
    message["To"] = recipient
    if settings.mail_reply_to is not None:
        message["Reply-To"] = _mailbox("Reply-To", settings.mail_reply_to)
    message["Date"] = datetime.now(UTC)
    domain = sender.addresses[0].domain
    message["Message-ID"] = f"<{export.id}.{export.email_sequence}.{kind}@{domain}>"
    for name, value in (AUTOMATIC | UNTRACKED).items():
        message[name] = value
    if export.request_id is not None and len(export.request_id) <= NAME_MAX:
        message["X-Request-ID"] = export.request_id
    return message


@cache
def _mailbox(field: str, mailbox: str) -> Any:
    """Return the field that names a mailbox of the settings, parsed once."""
    return POLICY.header_factory(field, _address(*parseaddr(mailbox)))


def _address(name: str, specification: str) -> Address:
    """Return an address for a header, its domain in ASCII; one beyond ASCII is only taken in parts.

    Raises:
        MailRefused: its domain has no form in ASCII.
    """
    try:
        specification = with_ascii_domain(specification)
    except ValueError as error:
        raise MailRefused("The domain of an address has no ASCII form.") from error
    if specification.isascii():
        return Address(name, addr_spec=specification)
    local, _, domain = specification.rpartition("@")
    return Address(name, local, domain)
