"""Every language says everything, in its own words, with the same gaps to fill."""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

import pytest

from app.i18n.catalogue import counted, text, texts
from app.i18n.formats import plural_forms
from app.i18n.locales import DEFAULT_LOCALE, LOCALES

OTHERS = [locale for locale in LOCALES if locale != DEFAULT_LOCALE]

SAME_AS_ENGLISH = {("fr", "headings.sources")}
"""Words that two languages share."""


def forms(entry: str | Mapping[str, str]) -> Iterator[str]:
    """Yield a text, or each of its plural forms."""
    yield from [entry] if isinstance(entry, str) else entry.values()


def gaps(pattern: str) -> set[str]:
    """Return the names of a text's placeholders."""
    return set(re.findall(r"\{(\w+)\}", pattern))


def test_each_language_has_a_file_and_each_file_a_language() -> None:
    names = {each.name for each in files("app.i18n").joinpath("texts").iterdir()}
    assert names == {f"{locale}.json" for locale in LOCALES}


@pytest.mark.parametrize("locale", OTHERS)
def test_no_language_lacks_a_text_or_has_one_too_many(locale: str) -> None:
    assert texts(locale).keys() == texts(DEFAULT_LOCALE).keys()


@pytest.mark.parametrize("locale", OTHERS)
def test_no_text_was_left_in_english(locale: str) -> None:
    english = texts(DEFAULT_LOCALE)
    same = {(locale, key) for key, entry in texts(locale).items() if entry == english[key]}
    assert same <= SAME_AS_ENGLISH


@pytest.mark.parametrize("locale", LOCALES)
def test_every_language_fills_the_same_gaps(locale: str) -> None:
    for key, entry in texts(locale).items():
        expected = gaps(max(forms(texts(DEFAULT_LOCALE)[key]), key=len))
        for form in forms(entry):
            assert gaps(form) == expected, key


@pytest.mark.parametrize("locale", LOCALES)
def test_a_number_has_all_plural_forms_of_the_language(locale: str) -> None:
    needed = plural_forms(locale)
    for key, entry in texts(locale).items():
        if not isinstance(entry, str):
            assert entry.keys() == needed, key


@pytest.mark.parametrize("locale", LOCALES)
def test_texts_are_plain_and_tidy(locale: str) -> None:
    for key, entry in texts(locale).items():
        for form in forms(entry):
            assert form == form.strip(), key
            assert not re.search(r"[<>&\n\t]|  ", form), key


@pytest.mark.parametrize(("locale", "key"), [("en", "headings.unknown"), ("it", "headings.email")])
def test_what_is_missing_is_an_error(locale: str, key: str) -> None:
    with pytest.raises(KeyError):
        text(locale, key)
    with pytest.raises(KeyError):
        counted(locale, key, 1)
