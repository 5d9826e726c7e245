"""A storefront's mail templates are rendered before a mail needs them."""

from pathlib import Path

from app.doctor import mail_templates
from app.doctor.findings import Status
from tests.doctor.installation import Installation, failed, warned


async def test_the_shipped_templates_and_valid_ones_are_well(
    installation: Installation, tmp_path: Path
) -> None:
    (finding,) = await installation.run_checks(mail_templates.CHECK)
    assert finding.status is Status.OK
    (tmp_path / "ready.txt").write_text("{{ title }}: {{ link }}")
    installation.change(MAIL_TEMPLATES_DIR=str(tmp_path))
    (finding,) = await installation.run_checks(mail_templates.CHECK)
    assert (finding.status, finding.advice) == (Status.OK, "")


async def test_a_broken_template_is_a_failure(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "failed.html").write_text("{{ nobody }}")
    installation.change(MAIL_TEMPLATES_DIR=str(tmp_path))
    findings = await installation.run_checks(mail_templates.CHECK)
    assert failed(findings) == ["templates"]
    assert findings[0].detail == ("MAIL_TEMPLATES_DIR: failed.html: it has no variable nobody.")
    assert str(tmp_path) not in findings[0].detail


async def test_a_file_that_no_mail_uses_is_a_warning(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "raedy.html").write_text("{{ link }}")
    installation.change(MAIL_TEMPLATES_DIR=str(tmp_path))
    findings = await installation.run_checks(mail_templates.CHECK)
    assert warned(findings) == ["templates"]
    assert "raedy.html" in findings[0].detail
