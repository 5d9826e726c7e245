"""The templates of mails: the shipped ones, and those that a storefront puts in their place.

A template of ``MAIL_TEMPLATES_DIR`` replaces the shipped one of the same name. It runs in Jinja's
sandbox, values are escaped in HTML, and a variable that does not exist is an error. All templates
are checked at start-up, so that a broken one stops the service there rather than a mail later.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import structlog
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    select_autoescape,
)
from jinja2.meta import find_referenced_templates, find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.errors import SettingsInvalid
from app.exports.delivery.mail_content import (
    FailedContent,
    MailContent,
    NoticeContent,
    ReadyContent,
)
from app.i18n.locales import LOCALES

log = structlog.get_logger()

SETTING = "MAIL_TEMPLATES_DIR"

PACKAGE = "app.exports.delivery"

FORMATS = ("txt", "html")

KINDS: tuple[type[MailContent], ...] = (ReadyContent, FailedContent, NoticeContent)
"""The kinds of mail that a storefront's templates may replace."""

LAYOUT = "layout.html"

REPLACEABLE = (*(f"{kind.kind}.{form}" for kind in KINDS for form in FORMATS), LAYOUT)
"""The names of the shipped templates."""

SHIPPED = "shipped"
"""``{% extends "shipped/ready.html" %}`` names the template that is replaced."""

SAMPLE_LINK = "https://lists.example/d/SAMPLE?a=1&b=2"


class MailTemplates:
    """Renders mails from a storefront's templates, or the shipped ones."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        shipped = PackageLoader(PACKAGE)
        self._shipped = _environment(ChoiceLoader([PrefixLoader({SHIPPED: shipped}), shipped]))
        self._environment = self._shipped
        if directory is not None:
            # The first with the name is used: the directory's templates replace the shipped ones.
            loaders = [FileSystemLoader(directory), PrefixLoader({SHIPPED: shipped}), shipped]
            self._environment = _environment(ChoiceLoader(loaders))

    def render(self, content: MailContent) -> tuple[str, str]:
        """Return the plain text and the HTML of a mail.

        A storefront's template that fails in spite of its check is logged, and the shipped one
        is used: the mail is more important than its design.
        """
        variables = vars(content)
        plain, html = (self._rendered(f"{content.kind}.{form}", variables) for form in FORMATS)
        return plain, html

    def check(self) -> None:
        """Render every template in every language, and look at each variable that they name.

        Raises:
            SettingsInvalid: in one sentence, which template is broken, where and why.
        """
        if self._directory is None:
            return
        if not self._directory.is_dir():
            raise SettingsInvalid(f"{SETTING} is no directory that this process can read.")
        for sample in samples():
            for form in FORMATS:
                self._check_one(f"{sample.kind}.{form}", sample)

    def unused_files(self) -> list[str]:
        """Return the files of the directory that neither replace a template nor are used by one."""
        if self._directory is None:
            return []
        used = {*REPLACEABLE, *(name for each in REPLACEABLE for name in self._references(each))}
        present = {each.name for each in self._directory.iterdir() if each.is_file()}
        return sorted(name for name in present - used if not name.startswith("."))

    def _rendered(self, name: str, variables: Mapping[str, Any]) -> str:
        try:
            return self._environment.get_template(name).render(variables)
        except Exception:
            if self._environment is self._shipped:
                raise
            log.exception("mail template failed", template=name)
            return self._shipped.get_template(name).render(variables)

    def _check_one(self, name: str, sample: MailContent) -> None:
        try:
            self._check_variables(name, {field.name for field in fields(sample)})
            shown = self._environment.get_template(name).render(vars(sample))
        # As it is: the next clause would put the template's name before it again.
        except SettingsInvalid:
            raise
        except Exception as error:  # a template's expressions may raise anything
            raise _invalid(name, error) from error
        if isinstance(sample, ReadyContent) and SAMPLE_LINK not in unescape(shown):
            raise SettingsInvalid(f"{SETTING}: {name}: it does not show the variable link.")

    def _check_variables(self, name: str, allowed: set[str]) -> None:
        """Look at every branch of a template, also at those that no sample takes."""
        for each in (name, *sorted(self._references(name))):
            unknown = find_undeclared_variables(self._parsed(each)) - allowed
            if unknown:
                raise SettingsInvalid(f"{SETTING}: {each}: it has no variable {min(unknown)}.")

    def _references(self, name: str) -> set[str]:
        """Return the templates that one extends or includes, directly or through others."""
        found: set[str] = set()
        waiting = {name}
        while waiting:
            direct = set(find_referenced_templates(self._parsed(waiting.pop())))
            waiting |= {each for each in direct if each is not None} - found
            found |= waiting
        return found

    def _parsed(self, name: str) -> Any:
        assert self._environment.loader is not None  # noqa: S101 - it was made with one
        source, file, _ = self._environment.loader.get_source(self._environment, name)
        return self._environment.parse(source, name, file)


@cache
def mail_templates(directory: Path | None) -> MailTemplates:
    """Return the templates of a directory, compiled once for each process."""
    return MailTemplates(directory)


def samples() -> Iterator[MailContent]:
    """Yield contents of every kind, in every language, with and without what is optional."""
    for locale in LOCALES:
        common: dict[str, Any] = {
            "brand": "Example",
            "locale": locale,
            "timezone": "UTC",
            "sources": ["Followers", "Customers"],
            "export_id": "00000000-0000-0000-0000-000000000000",
            "subject": "Subject",
            "title": "Title",
            "summary": "Summary.",
        }
        words = ("button", "download", "expiry", "address", "private")
        details = ("people", "file_name", "file_size", "as_of", "expires_on")
        ready = ReadyContent(
            **common,
            **_words(*words, *details),
            link=SAMPLE_LINK,
            rows=2,
            format="csv",
            notes=["First note.", "Second note."],
        )
        yield ready
        yield replace(ready, brand="", notes=[], rows=0, format="xlsx")
        names = ("requested_at", "error_code", "advice", "support")
        yield FailedContent(**common, **_words(*names))
        yield NoticeContent(
            **common,
            **_words("recipient", "file_name", "finished_at", "advice"),
            seller_id=1,
            rows=2,
            limit=1,
            details=[("Seller", "1")],
        )


def _words(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, "Sample")


def _environment(loader: BaseLoader) -> Environment:
    return ImmutableSandboxedEnvironment(
        loader=loader,
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # what was checked at start-up is what is sent
    )


def _invalid(name: str, error: Exception) -> SettingsInvalid:
    """Return what is wrong with a template, in one sentence without an address or a path."""
    reason = str(error) or type(error).__name__
    match error:
        case TemplateNotFound():
            reason = f"it names {error.name}, which is not there"
        case TemplateSyntaxError():
            name = name if error.name is None or error.name.startswith("<") else error.name
            reason = f"{error.message or reason} (line {error.lineno})"
        case UnicodeDecodeError():
            reason = "it is not UTF-8"
        case OSError():
            reason = "it cannot be read"
    return SettingsInvalid(f"{SETTING}: {name}: {' '.join(reason.split()).rstrip('.')}.")
