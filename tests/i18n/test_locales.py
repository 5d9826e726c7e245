"""Which language a tag, or a browser, means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.i18n.locales import LOCALES, accepted_locale, match_tag

MATCHES = {
    "en": "en",
    "EN-gb": "en",
    "de-AT": "de",
    "de-1996": "de",
    "de-DE-u-co-phonebk": "de",
    "es-419": "es",
    "fr-CA-x-mine": "fr",
    "zh": "zh-CN",
    "zh-Hans": "zh-CN",
    "zh-SG": "zh-CN",
    "zh-Hans-HK": "zh-CN",
    "zh-cmn-Hans-CN": "zh-CN",
    "zh-TW": "en",
    "zh-Hant": "en",
    "pt-BR": "en",
    "sr-Latn-RS": "en",
    "i-klingon": "en",
    "x-ours": "en",
    "en-GB-oed": "en",
    "gsw": "en",
}

NOT_WELL_FORMED = [
    "",
    "d",
    "de_AT",
    "de-",
    "-de",
    "de--AT",
    "d3",
    "de AT",
    "de-a",
    "ｄｅ",
    "toolonglanguage",
]

PREFERENCES = {
    "de-AT,de;q=0.9,en;q=0.8": "de",
    "pt-BR, pt;q=0.9, fr;q=0.8, en;q=0.7": "fr",
    "en;q=0.5, es": "es",
    "zh-TW,zh;q=0.9": "zh-CN",
    "zh-TW,en;q=0.9": "en",
    "de;q=0, fr;q=0.1": "fr",
    "*": "en",
    "": "en",
    "no header at all": "en",
    "de;q=high": "en",
}


@pytest.mark.parametrize("tag", MATCHES)
def test_a_tag_is_matched_to_the_nearest_language(tag: str) -> None:
    assert match_tag(tag) == MATCHES[tag]


@pytest.mark.parametrize("tag", NOT_WELL_FORMED)
def test_what_is_no_tag_has_no_language(tag: str) -> None:
    assert match_tag(tag) is None


@pytest.mark.parametrize("header", PREFERENCES)
def test_a_browser_gets_the_language_it_prefers(header: str) -> None:
    assert accepted_locale(header) == PREFERENCES[header]


@given(st.text(max_size=100))
def test_any_header_has_a_language(header: str) -> None:
    assert accepted_locale(header) in LOCALES
    assert match_tag(header) in (*LOCALES, None)
