"""The file's headings, in each language; a new source needs its names in one place."""

import pytest

from app.audience import headings, sources
from app.audience.headings import heading
from app.audience.merge import available_columns
from app.audience.sources import SOURCES, Source, Translation
from app.i18n.locales import DEFAULT_LOCALE, LOCALES

COLUMNS = available_columns([source.key for source in SOURCES])

ENGLISH = [
    "Email",
    "Subscribed At (UTC)",
    "Sources",
    "Follower Since (UTC)",
    "Customer Since (UTC)",
    "Affiliate Since (UTC)",
]

GERMAN = [
    "E-Mail",
    "Angemeldet am (Europe/Berlin)",
    "Quellen",
    "Follower seit (Europe/Berlin)",
    "Kunde seit (Europe/Berlin)",
    "Partner seit (Europe/Berlin)",
]

FAN = Source(
    key="vip_fan",
    label="VIP fans",
    table="vip_fans",
    eligible="true",
    translations={"de": Translation("VIP-Fans", "VIP-Fan seit")},
)


def test_english_headings_in_utc_are_the_default() -> None:
    assert [heading(column) for column in COLUMNS] == ENGLISH


def test_headings_are_in_the_language_and_name_the_time_zone() -> None:
    assert [heading(column, "de", "Europe/Berlin") for column in COLUMNS] == GERMAN


@pytest.mark.parametrize("locale", LOCALES)
def test_headings_differ_and_need_no_quotes(locale: str) -> None:
    found = [heading(column, locale, "America/Argentina/Buenos_Aires") for column in COLUMNS]
    assert len(set(found)) == len(found)
    assert not set("".join(found)) & set(',;\t"\r\n')


@pytest.mark.parametrize("locale", [each for each in LOCALES if each != DEFAULT_LOCALE])
def test_every_shipped_source_has_its_names_in_every_language(locale: str) -> None:
    for source in SOURCES:
        assert locale in source.translations, source.key


def test_a_new_source_is_named_by_its_entry_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headings, "SOURCES", (*SOURCES, FAN))
    monkeypatch.setitem(sources.SOURCES_BY_KEY, FAN.key, FAN)
    assert heading("vip_fan_since", "de") == "VIP-Fan seit (UTC)"
    assert heading("vip_fan_since", "fr") == "Vip fan Since (UTC)"
    assert sources.label_of("vip_fan", "de") == "VIP-Fans"
    assert sources.label_of("vip_fan", "fr") == "VIP fans"


def test_a_source_that_is_gone_is_shown_by_its_key() -> None:
    assert sources.label_of("former", "de") == "former"
