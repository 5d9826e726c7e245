"""The languages of files, mails and pages, and which of them a caller's language tag means."""

import re

DEFAULT_LOCALE = "en"

LOCALES = (DEFAULT_LOCALE, "zh-CN", "de", "es", "fr")
"""In the contract's order. A language is one entry here and one file in ``texts/``."""

TRADITIONAL_REGIONS = ("tw", "hk", "mo")

TAG = re.compile(
    r"""
    (?P<language>[a-z]{2,3}) (?:-[a-z]{3}){0,3} (?![a-z0-9]) | [a-z]{4,8} (?![a-z0-9])
    """,
    re.VERBOSE,
)

SUBTAGS = re.compile(
    r"""
    (?:-(?P<script>[a-z]{4}))?
    (?:-(?P<region>[a-z]{2}|[0-9]{3}))?
    (?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*
    (?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*
    (?:-x(?:-[a-z0-9]{1,8})+)?
    """,
    re.VERBOSE,
)

PRIVATE_OR_IRREGULAR = re.compile(
    r"x(-[a-z0-9]{1,8})+|i-[a-z]{2,8}|en-gb-oed|sgn-[a-z]{2}-[a-z]{2}"
)

LANGUAGE_RANGE = re.compile(r"([A-Za-z0-9-]{1,64}|\*)\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?")

RANGES_MAX = 20
"""A browser sends fewer; the rest of a longer header is ignored."""


def match_tag(tag: str) -> str | None:
    """Return the locale nearest to a BCP 47 tag; ``None`` where the tag is not well-formed.

    ``de-AT`` is ``de``, ``zh-Hans`` and ``zh`` are ``zh-CN``. Traditional Chinese and every other
    language are ``en``. Well-formed is what RFC 5646, section 2.1, defines; case has no meaning.
    """
    # Before lower(), which turns the Kelvin sign into an ASCII k.
    if not tag.isascii():
        return None
    tag = tag.lower()
    if PRIVATE_OR_IRREGULAR.fullmatch(tag):
        return DEFAULT_LOCALE
    begin = TAG.match(tag)
    subtags = begin and SUBTAGS.fullmatch(tag, begin.end())
    if begin is None or subtags is None:
        return None
    return _spoken(begin["language"], subtags["script"], subtags["region"]) or DEFAULT_LOCALE


def accepted_locale(header: str) -> str:
    """Return the locale that a browser prefers, by its ``Accept-Language`` (RFC 9110, 12.5.4)."""
    preferred: list[tuple[float, str]] = []
    for part in header.split(",")[:RANGES_MAX]:
        found = LANGUAGE_RANGE.fullmatch(part.strip())
        quality = float(found[2] or 1) if found else 0.0
        if found and quality > 0:
            preferred.append((-quality, found[1]))
    # The sort is stable: ranges of one quality stay in the header's order.
    ranked = (_locale_of_range(tag) for _, tag in sorted(preferred, key=lambda pair: pair[0]))
    return next(filter(None, ranked), DEFAULT_LOCALE)


def _locale_of_range(tag: str) -> str | None:
    """Return the locale of one language range; ``None`` where the texts are in no such language."""
    begin = TAG.match(tag.lower())
    subtags = begin and SUBTAGS.fullmatch(tag.lower(), begin.end())
    if begin is None or subtags is None:
        return None
    return _spoken(begin["language"], subtags["script"], subtags["region"])


def _spoken(language: str | None, script: str | None, region: str | None) -> str | None:
    """Return the locale in a language and script, if there is one."""
    if language == "zh":
        is_traditional = script == "hant" or (script is None and region in TRADITIONAL_REGIONS)
        return None if is_traditional else "zh-CN"
    return language if language in LOCALES else None
