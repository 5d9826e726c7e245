"""Numbers, sizes, dates and lists are written as each language does."""

from datetime import UTC, datetime

import pytest

from app.i18n import formats
from app.i18n.locales import LOCALES

NOON = datetime(2026, 12, 3, 23, 54, 5, tzinfo=UTC)

MOMENTS = {
    "en": "December 4, 2026, 12:54 AM (Europe/Berlin)",
    "zh-CN": "2026年12月4日 00:54 (Europe/Berlin)",
    "de": "4. Dezember 2026, 00:54 (Europe/Berlin)",
    "es": "4 de diciembre de 2026, 0:54 (Europe/Berlin)",
    "fr": "4 décembre 2026, 00:54 (Europe/Berlin)",
}

NUMBERS = {
    "en": ["0", "4,246", "1,048,575", "1.5"],
    "zh-CN": ["0", "4,246", "1,048,575", "1.5"],
    "de": ["0", "4.246", "1.048.575", "1,5"],
    "es": ["0", "4246", "1.048.575", "1,5"],
    "fr": ["0", "4\u202f246", "1\u202f048\u202f575", "1,5"],
}

LISTS = {
    "en": ["", "a", "a and b", "a, b, and c"],
    "zh-CN": ["", "a", "a和b", "a、b和c"],
    "de": ["", "a", "a und b", "a, b und c"],
    "es": ["", "a", "a y b", "a, b y c"],
    "fr": ["", "a", "a et b", "a, b et c"],
}

SIZES = {
    0: "0 bytes",
    1: "1 byte",
    999: "999 bytes",
    1000: "1 kB",
    52_110: "52 kB",
    999_499: "999 kB",
    999_500: "1 MB",
    1_250_000: "1.2 MB",
    9_960_000: "10 MB",
    48_100_000: "48 MB",
    3_000_000_000: "3 GB",
    2 * 10**15: "2,000 TB",
}


@pytest.mark.parametrize("locale", LOCALES)
def test_an_instant_is_shown_in_the_time_zone(locale: str) -> None:
    assert formats.moment(locale, NOON, "Europe/Berlin") == MOMENTS[locale]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_number_has_the_separators_of_the_language(locale: str) -> None:
    shown = [formats.number(locale, value) for value in (0, 4246, 1_048_575, 1.5)]
    assert shown == NUMBERS[locale]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_list_is_joined_as_in_a_sentence(locale: str) -> None:
    shown = [formats.conjunction(locale, list("abc")[:n]).replace("\xa0", " ") for n in range(4)]
    assert shown == LISTS[locale]


def test_spanish_joins_before_an_i_with_another_word() -> None:
    assert formats.conjunction("es", ["clientes", "invitados"]) == "clientes e invitados"
    assert formats.conjunction("es", ["clientes", "hijos"]) == "clientes e hijos"
    assert formats.conjunction("es", ["agua", "hielo"]) == "agua y hielo"


@pytest.mark.parametrize("value", SIZES)
def test_a_size_is_rounded_within_its_unit(value: int) -> None:
    assert formats.size("en", value) == SIZES[value]


def test_a_size_is_in_the_units_of_the_language() -> None:
    assert formats.size("fr", 1_250_000) == "1,2\u202fMo"
    assert formats.size("de", 1_250_000) == "1,2 MB"


def test_a_label_inside_a_sentence_begins_small_but_in_german() -> None:
    assert formats.within_sentence("en", "Customers") == "customers"
    assert formats.within_sentence("de", "Kunden") == "Kunden"
    assert formats.within_sentence("en", "VIP buyers") == "VIP buyers"
    assert formats.within_sentence("zh-CN", "客户") == "客户"


def test_a_zone_that_python_does_not_know_is_shown_in_utc() -> None:
    assert formats.moment("en", NOON, "Mars/Olympus").endswith("11:54 PM (UTC)")
