"""What a mail says, in the recipient's language: the variables of its template.

Each class is one kind of mail; its fields are the variables that a template may use. Values come
first, then whole sentences of the catalogue, so that a template needs no other text.
``docs/mail-templates.md`` lists them; a test compares it with the fields.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parseaddr
from typing import Any, ClassVar, Self

from app import errors
from app.audience.sources import label_of
from app.config import Settings
from app.i18n.catalogue import counted, text
from app.i18n.formats import (
    conjunction,
    day,
    local_time,
    moment,
    number,
    size,
    within_sentence,
    zone,
)
from app.models import Export

SPREADSHEET_ROWS = 1_048_575
"""Rows below the header that a spreadsheet shows (Excel's specification: 1,048,576 in all)."""


@dataclass(frozen=True, kw_only=True)
class MailContent:
    """What all mails about an export say."""

    kind: ClassVar[str]

    brand: str
    locale: str
    timezone: str
    sources: list[str]
    export_id: str
    subject: str
    title: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class ReadyContent(MailContent):
    """The mail that says: the list is ready."""

    kind: ClassVar[str] = "ready"

    link: str
    rows: int
    people: str
    file_name: str
    file_size: str
    format: str
    as_of: str
    expires_on: str
    notes: list[str]
    button: str
    download: str
    expiry: str
    address: str
    private: str

    @classmethod
    def of(cls, export: Export, settings: Settings, link: str) -> Self:
        """Return the content for an export that succeeded; ``link`` downloads its file."""
        locale, rows = export.locale, export.file_rows or 0
        as_of, until = _moment(export, export.snapshot_at), _moment(export, export.expires_at)
        expires_on = _day(export, export.expires_at)
        people = counted(locale, "mail.people", rows)
        sources = sources_text(export)
        summary = "mail.ready.summary" if rows else "mail.ready.empty"
        return cls(
            **_common(export, settings),
            link=link,
            rows=rows,
            people=people,
            file_name=export.file_name or "",
            file_size=size(locale, export.file_bytes or 0),
            format=export.format,
            as_of=as_of,
            expires_on=expires_on,
            subject=text(
                locale, "mail.ready.subject", sources=sources_title(export), people=people
            ),
            title=text(locale, "mail.ready.title"),
            summary=text(locale, summary, people=people, sources=sources, as_of=as_of),
            notes=list(_notes(export)),
            button=text(locale, "mail.ready.button"),
            download=text(locale, "mail.ready.download", day=expires_on),
            expiry=text(locale, "mail.ready.expiry", until=until),
            address=text(locale, "mail.ready.address"),
            private=text(locale, "mail.ready.private"),
        )


@dataclass(frozen=True, kw_only=True)
class FailedContent(MailContent):
    """The mail that says: the list could not be made."""

    kind: ClassVar[str] = "failed"

    requested_at: str
    error_code: str
    advice: str
    support: str

    @classmethod
    def of(cls, export: Export, settings: Settings) -> Self:
        """Return the content for an export that failed."""
        locale, code = export.locale, export.error_code or "internal"
        requested_at = _moment(export, export.created_at)
        advice = "permanent" if _is_permanent(code) else "temporary"
        return cls(
            **_common(export, settings),
            requested_at=requested_at,
            # Not error_detail, which may name parts of the infrastructure.
            error_code=code,
            subject=text(locale, "mail.failed.subject", sources=sources_title(export)),
            title=text(locale, "mail.failed.title"),
            summary=text(
                locale,
                "mail.failed.summary",
                sources=sources_text(export),
                requested_at=requested_at,
            ),
            advice=text(locale, f"mail.failed.{advice}"),
            support=text(locale, "mail.failed.support", id=export.id),
        )


@dataclass(frozen=True, kw_only=True)
class NoticeContent(MailContent):
    """The notice to ``NOTIFY_EMAIL``: a large list was made. In English, as all for operators."""

    kind: ClassVar[str] = "notice"

    seller_id: int
    recipient: str
    rows: int
    limit: int
    file_name: str
    finished_at: str
    details: list[tuple[str, str]]
    advice: str

    @classmethod
    def of(cls, export: Export, settings: Settings) -> Self:
        """Return the content for a list that was made; dates are in UTC."""
        english = replace(export, locale="en", timezone="UTC")
        rows, limit = export.file_rows or 0, settings.notify_above_rows or 0
        people = counted(english.locale, "mail.people", rows)
        above = number(english.locale, limit)
        finished_at = _moment(english, export.finished_at)
        details = [
            ("Seller", str(export.seller_id)),
            ("Recipient", export.recipient_email),
            ("Rows", number(english.locale, rows)),
            ("Sources", sources_title(english)),
            ("Made", finished_at),
            ("File", export.file_name or ""),
            ("Export", str(export.id)),
        ]
        return cls(
            **_common(english, settings),
            seller_id=export.seller_id,
            recipient=export.recipient_email,
            rows=rows,
            limit=limit,
            file_name=export.file_name or "",
            finished_at=finished_at,
            subject=f"Large audience export: {people}, seller {export.seller_id}",
            title="A large audience list was made",
            summary=f"A list of {people} was made. You are told of each above {above} rows.",
            details=details,
            advice=f"Who requested and downloaded it: audience-export exports show {export.id}",
        )


def brand_name(settings: Settings) -> str:
    """Return the name that mails speak of: ``BRAND_NAME``, else the sender's; may be empty."""
    return settings.brand_name or parseaddr(settings.mail_from)[0]


def sources_title(export: Export) -> str:
    """Return an export's sources as the beginning of a line: ``Followers and customers``."""
    first, *others = (label_of(key, export.locale) for key in export.sources)
    return conjunction(
        export.locale, [first, *(within_sentence(export.locale, label) for label in others)]
    )


def sources_text(export: Export) -> str:
    """Return an export's sources within a sentence: ``followers and customers``."""
    labels = (label_of(key, export.locale) for key in export.sources)
    return conjunction(export.locale, [within_sentence(export.locale, each) for each in labels])


def _common(export: Export, settings: Settings) -> dict[str, Any]:
    return {
        "brand": brand_name(settings),
        "locale": export.locale,
        "timezone": zone(export.timezone)[1],
        "sources": [label_of(key, export.locale) for key in export.sources],
        "export_id": str(export.id),
    }


def _notes(export: Export) -> Iterator[str]:
    """Yield what the reader should know before using the file."""
    locale, rows = export.locale, export.file_rows or 0
    if period := _period(export):
        yield period
    if rows > SPREADSHEET_ROWS:
        limit, all_rows = number(locale, SPREADSHEET_ROWS), number(locale, rows)
        yield text(locale, f"mail.ready.rows_{export.format}", limit=limit, rows=all_rows)
    if export.file_refused_addresses:
        yield counted(locale, "mail.ready.refused", export.file_refused_addresses)


def _period(export: Export) -> str | None:
    """Return the sentence on ``joined_after`` and ``joined_before``, if either is set."""
    start, end = (_bound(export, each) for each in (export.joined_after, export.joined_before))
    if start is not None and end is not None:
        return text(export.locale, "mail.ready.between", start=start, end=end)
    if start is not None:
        return text(export.locale, "mail.ready.since", start=start)
    return None if end is None else text(export.locale, "mail.ready.before", end=end)


def _bound(export: Export, instant: datetime | None) -> str | None:
    """Return an instant; as a day where it is a day's first moment in the time zone."""
    if instant is None:
        return None
    local, _ = local_time(instant, export.timezone)
    is_midnight = local.time().isoformat() == "00:00:00"
    return _day(export, instant) if is_midnight else _moment(export, instant)


def _moment(export: Export, instant: datetime | None) -> str:
    return "" if instant is None else moment(export.locale, instant, export.timezone)


def _day(export: Export, instant: datetime | None) -> str:
    return "" if instant is None else day(export.locale, instant, export.timezone)


def _is_permanent(code: str) -> bool:
    """Return whether an error's code is of those that a new request cannot help."""
    return code in {
        each.code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.PermanentError)
    }
