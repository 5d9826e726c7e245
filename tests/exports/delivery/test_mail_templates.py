"""A storefront's templates: what they may do, and that a broken one is found before any mail."""

from pathlib import Path

import pytest

from app.errors import SettingsInvalid
from app.exports.delivery import mail_templates
from app.exports.delivery.mail_content import ReadyContent
from app.exports.delivery.mail_templates import PACKAGE, REPLACEABLE, MailTemplates, samples
from devstack.service_processes import ROOT
from tests.adapters.settings import settings_with
from tests.exports.delivery.mails import LINK, html_text, mail_of, plain_text, ready_export

BROKEN = {
    "a mistake of syntax": ("ready.txt", "{{ link", "unexpected end of template"),
    "an unknown variable": ("failed.html", "{{ titel }}", "it has no variable titel"),
    "an unknown variable where nobody looks": (
        "ready.html",
        "{{ link }}{% if rows > 10**9 %}{{ who }}{% endif %}",
        "it has no variable who",
    ),
    "a variable of another mail": ("failed.txt", "{{ link }}", "it has no variable link"),
    "an unknown variable in what is included": (
        "layout.html",
        "{{ nobody }}{% block body %}{% endblock %}",
        "layout.html: it has no variable nobody",
    ),
    "a link that is not shown": ("ready.txt", "{{ title }}", "it does not show the variable link"),
    "a filter that does not exist": ("ready.txt", "{{ link | shout }}", "No filter named 'shout'"),
    "a file that is not there": ("ready.txt", "{% include 'x.txt' %}{{ link }}", "it names x.txt"),
    "an attribute that does not exist": ("ready.txt", "{{ link }}{{ rows.size }}", "size"),
    "Python's insides": ("ready.txt", "{{ link }}{{ rows.__class__ }}", "__class__"),
    "a division by zero": ("ready.txt", "{{ link }}{{ 1 / 0 }}", "division by zero"),
    "an endless loop": ("ready.txt", "{{ link }}{{ range(10**9) | list }}", "Range too big"),
}


def test_the_shipped_templates_are_those_that_can_be_replaced() -> None:
    folder = ROOT / PACKAGE.replace(".", "/") / "templates"
    assert {each.name for each in folder.iterdir()} == set(REPLACEABLE)


def test_the_shipped_templates_pass_the_check(tmp_path: Path) -> None:
    MailTemplates().check()
    MailTemplates(tmp_path).check()


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_template_is_reported_with_its_name_and_reason(why: str, tmp_path: Path) -> None:
    name, content, reason = BROKEN[why]
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingsInvalid) as raised:
        MailTemplates(tmp_path).check()
    told = str(raised.value)
    assert told.startswith(f"MAIL_TEMPLATES_DIR: {name}: ")
    assert reason in told
    assert told.count("\n") == 0


def test_a_directory_or_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="is no directory"):
        MailTemplates(tmp_path / "nowhere").check()
    (tmp_path / "ready.txt").write_bytes(b"\xff{{ link }}")
    with pytest.raises(SettingsInvalid, match="it is not UTF-8"):
        MailTemplates(tmp_path).check()


def test_a_template_takes_the_place_of_the_shipped_one_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "ready.txt").write_text("{{ brand }}: {{ people }}, {{ link }}")
    mail = mail_of(ready_export(), mail_templates_dir=str(tmp_path), brand_name="A & B")
    assert plain_text(mail) == f"A & B: 98,214 people, {LINK}"
    assert "A &amp; B" in html_text(mail)


def test_a_template_may_build_on_the_one_it_replaces(tmp_path: Path) -> None:
    footer = "<p>{{ brand }}, 1 High Street</p>"
    (tmp_path / "ready.html").write_text(
        '{% extends "shipped/ready.html" %}{% block body %}{{ super() }}'
        '{% include "footer.html" %}{% endblock %}'
    )
    (tmp_path / "footer.html").write_text(footer)
    templates = MailTemplates(tmp_path)
    templates.check()
    content = ReadyContent.of(ready_export(), settings_with(brand_name="Ann & Co"), LINK)
    _, html = templates.render(content)
    assert "<p>Ann &amp; Co, 1 High Street</p>" in html
    assert "Download the list" in html


def test_files_without_a_use_are_found(tmp_path: Path) -> None:
    (tmp_path / "redy.html").write_text("{{ link }}")
    (tmp_path / "layout.html").write_text('{% include "logo.html" %}{% block body %}{% endblock %}')
    (tmp_path / "logo.html").write_text("<b>*</b>")
    (tmp_path / "..2026_11_27").mkdir()  # as in a volume made of a ConfigMap
    (tmp_path / "..data").symlink_to("..2026_11_27")
    assert MailTemplates(tmp_path).unused_files() == ["redy.html"]


def test_what_was_checked_is_what_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "ready.txt"
    path.write_text("first {{ link }}")
    templates = MailTemplates(tmp_path)
    templates.check()
    path.write_text("{{ broken")
    content = ReadyContent.of(ready_export(), settings_with(), LINK)
    assert templates.render(content)[0] == f"first {LINK}"


def test_a_template_that_fails_in_spite_of_its_check_costs_no_mail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ready.txt").write_text("{{ link }} {{ 1 // (rows - 98214) }}")
    templates = MailTemplates(tmp_path)
    templates.check()
    content = ReadyContent.of(ready_export(), settings_with(), LINK)
    assert content.title in templates.render(content)[0]
    assert "mail template failed" in capsys.readouterr().out


def test_every_kind_of_mail_has_samples_of_all_its_variables() -> None:
    for sample in samples():
        assert vars(sample).keys() >= {"subject", "title", "summary"}
    assert {sample.kind for sample in samples()} == {kind.kind for kind in mail_templates.KINDS}
