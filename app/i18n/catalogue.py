"""The texts by language and key, from ``texts/*.json``.

A text has placeholders such as ``{people}``. A text that depends on a number is an object with one
text for each of the language's plural forms (CLDR: ``one``, ``many``, ``other``); its number is
``{n}``, written as the language does.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from app.i18n.formats import number, plural_form
from app.i18n.locales import LOCALES

PluralForms = Mapping[str, str]


def text(locale: str, key: str, **values: object) -> str:
    """Return a text with its placeholders filled, as plain text.

    Raises:
        KeyError: there is no such text, or a placeholder has no value.
    """
    pattern = texts(locale)[key]
    if not isinstance(pattern, str):
        raise KeyError(key)
    return pattern.format_map(values)


def counted(locale: str, key: str, n: int, **values: object) -> str:
    """Return a text in the plural form of ``n``, which fills ``{n}``.

    Raises:
        KeyError: there is no such text, or a placeholder has no value.
    """
    forms = texts(locale)[key]
    pattern = forms if isinstance(forms, str) else forms[plural_form(locale, n)]
    return pattern.format_map({"n": number(locale, n), **values})


@cache
def texts(locale: str) -> Mapping[str, str | PluralForms]:
    """Return all texts of a language by their keys, such as ``mail.ready.subject``.

    Raises:
        KeyError: it is none of ``LOCALES``.
    """
    if locale not in LOCALES:
        raise KeyError(locale)
    content = files("app.i18n").joinpath("texts", f"{locale}.json").read_text("utf-8")
    return dict(_flattened(json.loads(content), ""))


def _flattened(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str | PluralForms]]:
    for name, node in tree.items():
        # `other` is a plural form of every language, so no group of texts may have such an entry.
        if isinstance(node, str) or "other" in node:
            yield prefix + name, node
        else:
            yield from _flattened(node, f"{prefix}{name}.")
