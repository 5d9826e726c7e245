"""The dialog says the words that it shares with the mail and the file as they do."""

import re

import pytest

from app.audience.sources import SOURCES
from app.i18n.catalogue import text, texts
from app.i18n.locales import DEFAULT_LOCALE, LOCALES
from devstack.service_processes import ROOT

WIDGET = ROOT / "app" / "web" / "widget"


def dialog_texts(locale: str) -> str:
    """Return the source of the module with the dialog's texts in a language."""
    name = "texts.js" if locale == DEFAULT_LOCALE else f"languages/{locale}.js"
    return (WIDGET / name).read_text()


def dialog_text(locale: str, name: str) -> str:
    """Return one of the dialog's texts as it stands in its module."""
    found = re.search(rf"^  {name}: (.+),$", dialog_texts(locale), re.MULTILINE)
    assert found is not None, name
    return found[1]


@pytest.mark.parametrize("locale", LOCALES)
def test_sources_have_the_names_of_the_registry(locale: str) -> None:
    for source in SOURCES:
        assert dialog_text(locale, source.key).strip('"') == source.label_in(locale)
        since = dialog_text(locale, source.since).strip('"')
        assert since.casefold() == source.since_label_in(locale).casefold()


@pytest.mark.parametrize("locale", LOCALES)
def test_the_column_of_sources_has_the_name_of_its_heading(locale: str) -> None:
    assert dialog_text(locale, "sources").strip('"') == text(locale, "headings.sources")


@pytest.mark.parametrize("locale", LOCALES)
def test_people_are_counted_as_in_the_mail(locale: str) -> None:
    people = texts(locale)["mail.people"]
    shown = dialog_text(locale, "people")
    forms = dict(re.findall(r'(\w+): "([^"]*)"', shown)) or {"other": shown.strip('"')}
    assert forms == people


@pytest.mark.parametrize("locale", LOCALES)
def test_the_pages_name_the_dialogs_button(locale: str) -> None:
    assert dialog_text(locale, "export").strip('"') in text(locale, "pages.way_on")
