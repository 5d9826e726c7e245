"""The page on mail templates lists the templates and the variables there are."""

import re
from dataclasses import fields

import pytest

from app.exports.delivery.mail_content import MailContent
from app.exports.delivery.mail_templates import KINDS, REPLACEABLE
from devstack.service_processes import ROOT

PAGE = (ROOT / "docs" / "mail-templates.md").read_text()


def section(title: str) -> str:
    """Return the text under a heading."""
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def variables(text: str) -> list[str]:
    """Return the names in the first column of a section's table."""
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_every_template_is_listed() -> None:
    listed = re.findall(r"`([a-z_]+\.(?:txt|html))`", PAGE.split("\n## ", 1)[0])
    assert set(listed) >= set(REPLACEABLE)


def test_the_variables_of_every_mail_are_listed_in_order() -> None:
    names = [field.name for field in fields(MailContent)]
    assert variables(section("Variables of every mail")) == names


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_variables_of_a_mail_are_listed_in_order(kind: type[MailContent]) -> None:
    common = {field.name for field in fields(MailContent)}
    names = [field.name for field in fields(kind) if field.name not in common]
    assert variables(section(f"Variables of `{kind.kind}`")) == names
