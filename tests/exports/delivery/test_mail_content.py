"""What the mails say, in each language."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app import errors
from app.adapters.smtp.envelope import Envelope
from app.audience.boundaries import EARLIEST, LATEST
from app.exports.delivery.mail_content import SPREADSHEET_ROWS, FailedContent, ReadyContent
from app.i18n.locales import LOCALES
from app.models import Export
from tests.adapters.settings import settings_with
from tests.exports.delivery.mails import (
    LINK,
    failed_export,
    html_text,
    mail_of,
    plain_text,
    ready_export,
    shown_text,
)

SUBJECTS = {
    "en": "Your audience export is ready: Followers and customers, 98,214 people",
    "zh-CN": "您的受众导出已就绪：关注者和客户，98,214 人",
    "de": "Ihr Publikumsexport ist fertig: Follower und Kunden, 98.214 Personen",
    "es": "Su exportación de audiencia está lista: Seguidores y clientes, 98.214 personas",
    "fr": "Votre export d’audience est prêt : Abonnés et clients, 98\u202f214 personnes",
}

FAILURES = {
    "en": "Your audience export failed: Followers and customers",
    "zh-CN": "您的受众导出失败：关注者和客户",
    "de": "Ihr Publikumsexport ist fehlgeschlagen: Follower und Kunden",
    "es": "Su exportación de audiencia ha fallado: Seguidores y clientes",
    "fr": "Votre export d’audience a échoué : Abonnés et clients",
}

PEOPLE = {
    "en": {0: "0 people", 1: "1 person", 2: "2 people", 1_000_000: "1,000,000 people"},
    "zh-CN": {0: "0 人", 1: "1 人", 2: "2 人", 1_000_000: "1,000,000 人"},
    "de": {0: "0 Personen", 1: "1 Person", 2: "2 Personen", 1_000_000: "1.000.000 Personen"},
    "es": {0: "0 personas", 1: "1 persona", 2: "2 personas", 1_000_000: "1.000.000 de personas"},
    "fr": {
        0: "0 personne",
        1: "1 personne",
        2: "2 personnes",
        1_000_000: "1\u202f000\u202f000 de personnes",
    },
}

DAYS = {
    "en": "November 30, 2026",
    "zh-CN": "2026年11月30日",
    "de": "30. November 2026",
    "es": "30 de noviembre de 2026",
    "fr": "30 novembre 2026",
}
"""The day the link ends in Berlin; in UTC it is the day before."""

INFRASTRUCTURE = ("storage", "database", "server", "bucket", "worker", "S3", "SMTP")


def ready(**columns: Any) -> ReadyContent:
    return ReadyContent.of(ready_export(**columns), settings_with(), LINK)


def failed(**columns: Any) -> FailedContent:
    return FailedContent.of(failed_export(**columns), settings_with())


@pytest.mark.parametrize("locale", LOCALES)
def test_the_subject_names_the_sources_and_how_many_people(locale: str) -> None:
    assert ready(locale=locale).subject == SUBJECTS[locale]
    assert failed(locale=locale).subject == FAILURES[locale]


@pytest.mark.parametrize("locale", LOCALES)
def test_subjects_of_any_length_arrive_as_they_were_written(locale: str) -> None:
    keys = ["follower", "customer", "affiliate"]
    for count in range(1, 4):
        for rows in (0, 1, 123_456_789):
            export = ready_export(locale=locale, sources=keys[:count], file_rows=rows)
            sent = Envelope.of(mail_of(export)).to_bytes()
            arrived = message_from_bytes(sent, policy=default)
            assert arrived["Subject"] == ReadyContent.of(export, settings_with(), LINK).subject
            head = sent.split(b"\r\n\r\n")[0].split(b"\r\n")
            assert max(map(len, head)) <= 78


@pytest.mark.parametrize("locale", LOCALES)
def test_people_are_counted_in_the_plural_of_the_language(locale: str) -> None:
    for rows, shown in PEOPLE[locale].items():
        content = ready(locale=locale, file_rows=rows)
        assert content.people == shown
        assert content.subject.endswith(shown)


@pytest.mark.parametrize("locale", LOCALES)
def test_dates_are_in_the_time_zone_and_name_it(locale: str) -> None:
    content = ready(locale=locale, timezone="Europe/Berlin")
    assert content.expires_on == DAYS[locale]
    assert DAYS[locale] in content.download
    assert DAYS[locale] in content.expiry
    assert "(Europe/Berlin)" in content.as_of
    assert "(Europe/Berlin)" in failed(locale=locale, timezone="Europe/Berlin").requested_at


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("format_", "rows"), [("csv", 1_048_576), ("xlsx", 3_000_000)])
def test_a_long_list_says_what_a_spreadsheet_shows(locale: str, format_: Any, rows: int) -> None:
    assert ready(locale=locale, format=format_, file_rows=SPREADSHEET_ROWS).notes == []
    (note,) = ready(locale=locale, format=format_, file_rows=rows).notes
    limits = {
        "en": "1,048,575",
        "zh-CN": "1,048,575",
        "de": "1.048.575",
        "es": "1.048.575",
        "fr": "1\u202f048\u202f575",
    }
    assert limits[locale] in note


def test_what_mailing_tools_refuse_is_counted() -> None:
    assert ready(file_refused_addresses=0).notes == []
    (one,) = ready(file_refused_addresses=1).notes
    (many,) = ready(file_refused_addresses=1200).notes
    assert one.startswith("1 address on the list has characters before the @")
    assert many.startswith("1,200 addresses on the list have characters before the @")


def test_a_period_is_reported_in_days_where_it_has_whole_days() -> None:
    first, last = datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC)
    zone = {"timezone": "Europe/Berlin"}
    since = ready(joined_after=first, **zone).notes
    assert since == ["It holds only people who joined on or after February 1, 2026."]
    before = ready(joined_before=first.replace(hour=12), **zone).notes
    assert before == [
        "It holds only people who joined before January 31, 2026, 1:00 PM (Europe/Berlin)."
    ]
    (both,) = ready(joined_after=first, joined_before=last, **zone).notes
    assert both.endswith("on or after February 1, 2026 and before March 1, 2026.")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    ("boundary", "timezone"), [(EARLIEST, "America/New_York"), (LATEST, "Asia/Shanghai")]
)
def test_a_period_up_to_an_end_of_the_calendar_is_reported_in_utc(
    locale: str, boundary: datetime, timezone: str
) -> None:
    (note,) = ready(joined_after=boundary, timezone=timezone, locale=locale).notes
    assert timezone not in note
    assert str(boundary.year) in note


@pytest.mark.parametrize("locale", LOCALES)
def test_an_empty_list_is_told_as_one(locale: str) -> None:
    assert ready(locale=locale, file_rows=0).summary != ready(locale=locale, file_rows=1).summary
    assert ready(file_rows=0).summary.startswith("The list (followers and customers) is empty")


@pytest.mark.parametrize("locale", LOCALES)
def test_a_failure_says_what_to_do_and_nothing_of_infrastructure(locale: str) -> None:
    codes = [
        each.code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.ServiceError)
    ]
    advice = {}
    for code in (*codes, "worker_lost"):
        content = failed(locale=locale, error_code=code)
        advice[code] = content.advice
        shown = content.summary + content.advice + content.support
        assert not [word for word in INFRASTRUCTURE if word in shown]
    assert advice["storage_refused"] != advice["storage_unavailable"]
    assert advice["worker_lost"] == advice["internal"] == advice["storage_unavailable"]
    assert str(failed_export().id) in content.support


@pytest.mark.parametrize("locale", LOCALES)
def test_both_parts_say_the_same(locale: str) -> None:
    columns: dict[str, Any] = {"locale": locale, "file_rows": 1_200_000}
    columns |= {"file_refused_addresses": 3, "joined_after": datetime(2026, 1, 1, tzinfo=UTC)}
    export = ready_export(**columns)
    of_ready = ReadyContent.of(export, settings_with(), LINK)
    assert len(of_ready.notes) == 3
    says = [of_ready.brand, of_ready.title, of_ready.summary, *of_ready.notes, of_ready.file_name]
    says += [of_ready.file_size, of_ready.link, of_ready.expiry, of_ready.private]
    _assert_said(export, says)
    of_failed = failed(locale=locale)
    says = [of_failed.brand, of_failed.title, of_failed.summary, of_failed.advice]
    _assert_said(failed_export(locale=locale), [*says, of_failed.support])


def _assert_said(export: Export, says: list[str]) -> None:
    mail = mail_of(export)
    plain, html = plain_text(mail), html_text(mail)
    assert f'<html lang="{export.locale}">' in html
    assert mail["Content-Language"] == export.locale
    for each in says:
        assert each in plain
        assert each in shown_text(html)


def test_the_size_stands_before_the_button_and_the_address_after_it() -> None:
    shown = shown_text(html_text(mail_of(ready_export()))).splitlines()
    button = shown.index("Download the list")
    assert shown.index("audience-1-2026-11-22.csv (4.7 MB)") < button < shown.index(LINK)


def test_the_brand_is_its_setting_or_the_senders_name() -> None:
    export = ready_export()
    assert ReadyContent.of(export, settings_with(brand_name="Märkte"), LINK).brand == "Märkte"
    named = settings_with(mail_from="Example Market <lists@x.co>")
    assert ReadyContent.of(export, named, LINK).brand == "Example Market"
    mail = mail_of(export, mail_from="lists@x.co")
    assert plain_text(mail).startswith("Your audience export is ready\n")


@given(
    brand=st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1, max_size=60),
    name=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60),
)
@example(brand="&amp", name="&lt;")
def test_hostile_names_are_shown_as_they_are(brand: str, name: str) -> None:
    mail = mail_of(ready_export(file_name=name), brand_name=brand)
    shown = shown_text(html_text(mail))
    assert brand in shown
    assert f"{name} (4.7 MB)" in shown
    assert "<script" not in html_text(mail_of(ready_export(), brand_name="<script>alert(1)"))


def test_a_source_that_is_gone_is_named_by_its_key() -> None:
    assert "Former_fans" not in ready(sources=["former_fans"]).subject
    assert "former_fans" in ready(sources=["former_fans"]).subject
